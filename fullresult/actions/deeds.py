"""Everything that one actor may do with the tasks of one app."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from fullresult.actions.audit import Trail, changes_of, filters_of
from fullresult.actions.batch import AT_ONCE, Pace, Report, do_each, unknown
from fullresult.actions.errors import NotDone, sending
from fullresult.actions.failures import FailureDeeds
from fullresult.actions.missing import Missing, Sparing, Way
from fullresult.actions.resend import Resender
from fullresult.actions.schedules import Scheduled, eta_text
from fullresult.actions.take_back import take_back
from fullresult.actions.why_not import why_not_moved, why_not_released
from fullresult.insight.document import plain
from fullresult.record import TaskRecord, encoding, pages
from fullresult.scheduling.revoked_results import store_revoked
from fullresult.scheduling.sender import Sender
from fullresult.storage import StorageError, purging, with_schedules

if TYPE_CHECKING:
    from datetime import datetime

    from celery import Celery
    from celery.result import AsyncResult

    from fullresult.actions.audit import Actor
    from fullresult.config import Settings
    from fullresult.recording.recorder import Recorder
    from fullresult.scheduling.diverter import Diverter
    from fullresult.storage import Storage, TaskQuery

_PAGE = 100


class Deeds:
    """The deeds of one actor. Each is written to the audit log, also if it fails.

    Every method raises `StorageError`.
    """

    def __init__(
        self,
        app: Celery,
        settings: Settings,
        storage: Storage,
        recorder: Recorder,
        actor: Actor,
        diverter: Diverter | None = None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._storage = storage
        self._recorder = recorder
        self._actor = actor
        self._resender = Resender(app, recorder, diverter)

    # Sending again

    def resend(
        self,
        task_id_or_record: str | TaskRecord,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> AsyncResult[Any]:
        """Send one task again, changed or not; see `FullResult.resend`."""
        given, options = task_id_or_record, options or {}
        task_id = given.task_id if isinstance(given, TaskRecord) else given
        trail = self._trail("resend", changes_of(args, kwargs, options))
        with _failure_written(trail, [task_id]):
            record = given if isinstance(given, TaskRecord) else self._get(given)
            result = self._resender.resend(record, args, kwargs, options)
        trail.done(task_id, str(result.id))
        trail.flush()
        return result

    def resend_each(
        self,
        records: Iterable[tuple[str, TaskRecord | None]],
        asked: Mapping[str, Any] | None = None,
        pace: Pace = AT_ONCE,
        limit: int | None = None,
    ) -> Report:
        """Send these tasks again as they were, at most *limit*. A record of None is unknown.

        The new tasks are not sent again if *records* comes to them. *asked* is for the audit log.
        """
        new: set[str] = set()

        def send(item: tuple[str, TaskRecord | None]) -> str:
            task_id, record = item
            if record is None:
                raise NotDone(unknown(task_id))
            new_id = self._send_again(record)
            new.add(new_id)
            return new_id

        old = ((item[0], item) for item in records if item[0] not in new)
        return do_each(islice(old, limit), send, self._trail("resend", asked), pace)

    def resend_ids(
        self, ids: Iterable[str], asked: Mapping[str, Any] | None = None, pace: Pace = AT_ONCE
    ) -> Report:
        """Send the tasks with these ids again."""
        found = ((task_id, self._storage.get(encoding.key(task_id))) for task_id in _unique(ids))
        return self.resend_each(found, asked, pace)

    def resend_matching(
        self, query: TaskQuery, limit: int | None = None, pace: Pace = AT_ONCE
    ) -> Report:
        """Send what *query* asks for again, the oldest first, at most *limit*.

        It stops after as many as match at the beginning: re-sends make records that may match.
        """
        number = self.count(query, limit)
        return self.resend_each(self.matching(query), filters_of(query), pace, number)

    def count(self, query: TaskQuery, limit: int | None) -> int:
        _check_limit(limit)
        number = self._storage.count(query)
        return number if limit is None else min(number, limit)

    def matching(self, query: TaskQuery) -> Iterator[tuple[str, TaskRecord]]:
        """The ids and records that `resend_matching` sends."""
        page = replace(query, limit=_PAGE, order="oldest", after=None)
        for record in pages.walk(self._storage.find, page):
            yield record.task_id, record

    def missing(
        self,
        query: TaskQuery | None = None,
        age: timedelta | None = None,
        limit: int | None = None,
    ) -> Missing:
        """Finds what went missing; `resend_missing` sends what it found.

        Raises `ValueError` for a negative *age* or *limit*.
        """
        _check_limit(limit)
        if age is not None and age < timedelta(0):
            raise ValueError(f"age must be 0 or more, not {age!r}")
        return Missing(self._storage, self._settings, self._app.tasks, query, age, limit)

    def resend_missing(
        self,
        chosen: Iterable[tuple[Way, str, str | None]],
        asked: Mapping[str, Any] | None = None,
        pace: Pace = AT_ONCE,
    ) -> Report:
        """Send tasks that went missing, each given as its way, its id, and what `seen_as` said.

        Spared are tasks that moved on since, that a living worker runs, or that were sent again.
        """
        sparing, sender = Sparing(self._storage), Sender(self._app)

        def send(item: tuple[Way, str, str | None]) -> str:
            way, task_id, seen = item
            if way == "stale_scheduled":
                sparing.check_scheduled(task_id, self._settings)
                return self._send_now(task_id, sender)
            return self._send_again(sparing.to_send(way, task_id, seen))

        try:
            items = ((item[1], item) for item in chosen)
            return do_each(items, send, self._trail("resend", asked), pace)
        finally:
            sender.close()

    def find_and_resend_missing(
        self,
        ways: Sequence[Way],
        query: TaskQuery | None = None,
        age: timedelta | None = None,
        limit: int | None = None,
        *,
        dry_run: bool = False,
    ) -> Report:
        """Look for what went missing in these ways, and send it unless it is a *dry_run*."""
        missing = self.missing(query, age, limit)
        losses = missing.find(ways)
        chosen = [(loss.way, *each) for loss in losses for each in loss.seen.items()]
        if dry_run:
            return Report(missing.spared, would_send=[task_id for _, task_id, _ in chosen])
        report = self.resend_missing(chosen, {**filters_of(query), "missing": list(ways)})
        return replace(report, fates=[*missing.spared, *report.fates])

    def _send_again(self, record: TaskRecord) -> str:
        with sending(record.task_id):
            return str(self._resender.resend(record, None, None, {}).id)

    def _get(self, task_id: str) -> TaskRecord:
        record = self._storage.get(encoding.key(task_id))
        if record is None:
            raise LookupError(unknown(task_id))
        return record

    @property
    def failures(self) -> FailureDeeds:
        """What this actor may decide about groups of failures."""
        return FailureDeeds(self._storage, self._actor.name, self._trail)

    # What is scheduled

    @property
    def _scheduled(self) -> Scheduled:
        storage = with_schedules(self._storage)
        return Scheduled(self._settings, storage, partial(store_revoked, self._app))

    @property
    def now(self) -> datetime:
        """The storage's clock, which decides what is due."""
        return self._storage.now()

    def due_after(self, countdown: timedelta) -> datetime:
        """The time that is so long after `now`."""
        return self.now + countdown

    def cancel(
        self, ids: Iterable[str], asked: Mapping[str, Any] | None = None, pace: Pace = AT_ONCE
    ) -> Report:
        """Cancel the waiting schedules of these tasks."""

        def cancel(task_id: str) -> None:
            if not self._scheduled.cancel(task_id):
                raise NotDone(why_not_moved(self._storage, task_id))
            take_back(self._storage, self._recorder, task_id)

        return self._each("cancel", ids, asked, pace, cancel)

    def reschedule(
        self, ids: Iterable[str], due: datetime | timedelta, pace: Pace = AT_ONCE
    ) -> Report:
        """Make the waiting schedules of these tasks due at that time, or later by that."""

        def move(task_id: str) -> None:
            if not self._scheduled.reschedule(task_id, due):
                raise NotDone(why_not_moved(self._storage, task_id))

        return self._each("reschedule", ids, {"eta": eta_text(due)}, pace, move)

    def release(self, ids: Iterable[str], pace: Pace = AT_ONCE) -> Report:
        """Give the claimed schedules of these tasks back to the sweepers."""

        def release(task_id: str) -> None:
            if not self._scheduled.release(task_id):
                raise NotDone(why_not_released(self._storage, self._settings, task_id))

        return self._each("release", ids, None, pace, release)

    def send_each_now(self, ids: Iterable[str], pace: Pace = AT_ONCE) -> Report:
        """Send these scheduled tasks, each under its own id."""
        sender = Sender(self._app)
        try:
            send = partial(self._send_now, sender=sender)
            return self._each("resend-scheduled", ids, None, pace, send)
        finally:
            sender.close()

    def send_now(self, task_id: str) -> None:
        """Send one scheduled task. Raises `LookupError` and `CannotResend`."""
        trail, sender = self._trail("resend-scheduled"), Sender(self._app)
        try:
            with _failure_written(trail, [task_id]):
                self._scheduled.send_now(task_id, sender)
        finally:
            sender.close()
        trail.write([task_id], {})

    def _send_now(self, task_id: str, sender: Sender) -> str:
        with sending(task_id):
            self._scheduled.send_now(task_id, sender)
        return task_id

    # Others

    def trigger(self, name: str, scheduler: str | None = None) -> AsyncResult[Any]:
        """Send a periodic task now; see `FullResult.trigger`."""
        # With beat, which few processes need.
        from fullresult.actions.trigger import Trigger
        from fullresult.insight.periodic import Periodic

        trail = self._trail("trigger", {"name": plain(name)})
        with _failure_written(trail):
            plan = Periodic(
                self._app, self._settings, self._storage, self._recorder.redactor, scheduler
            )
            result = Trigger(self._app, plan.entries()).send(name)
        trail.write([str(result.id)], {})
        return result

    def delete(
        self,
        query: TaskQuery,
        limit: int | None = None,
        portion: int | None = None,
        advance: Callable[[int], object] | None = None,
    ) -> int:
        """Delete the records that *query* asks for, at most *limit*. Returns how many.

        With a *limit* and a *portion*, not more than a portion is deleted at once. *advance* is
        called with the size of each, and the rest is left if it returns False.
        """
        _check_limit(limit)
        trail, deleted = self._trail("delete", filters_of(query)), 0
        try:
            while limit is None or deleted < limit:
                some = self._storage.delete(
                    replace(query, limit=_smaller(portion, limit, deleted), after=None)
                )
                deleted += some
                goes_on = advance is None or advance(some) is not False
                if not (goes_on and some) or limit is None or portion is None:
                    break
        except BaseException as error:  # also Ctrl-C
            trail.broken_off(deleted, error)
            raise
        if deleted:
            ids = set(query.task_ids or ())
            trail.write(ids if deleted == len(ids) else (), {"deleted": deleted})
        return deleted

    def purge(self, advance: Callable[[int], None] | None = None) -> int:
        """Delete the records that have expired by `fullresult_retention`. Returns how many."""
        trail, deleted = self._trail("purge"), 0

        def count(some: int) -> None:
            nonlocal deleted
            deleted += some
            if advance is not None:
                advance(some)

        try:
            purging.purge(self._storage, count, audit_kept=self._settings.audit_retention)
        except BaseException as error:  # also Ctrl-C
            trail.broken_off(deleted, error)
            raise
        trail.write([], {"deleted": deleted})
        return deleted

    def note(self, action: str, details: Mapping[str, Any]) -> None:
        """Write another action to the audit log, such as a log-in."""
        self._trail(action).write([], details)

    def _each(
        self,
        action: str,
        ids: Iterable[str],
        asked: Mapping[str, Any] | None,
        pace: Pace,
        do: Callable[[str], str | None],
    ) -> Report:
        items = ((task_id, task_id) for task_id in _unique(ids))
        return do_each(items, do, self._trail(action, asked), pace)

    def _trail(self, action: str, details: Mapping[str, Any] | None = None) -> Trail:
        return Trail(self._storage, self._recorder.redactor, self._actor, action, details)


@contextmanager
def _failure_written(trail: Trail, task_ids: Collection[str] = ()) -> Iterator[None]:
    """Write what is raised to the audit log, and raise it.

    Not a `StorageError`: that storage would not take the entry either.
    """
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        trail.write_problem(task_ids, error)
        raise


def _unique(ids: Iterable[str]) -> Iterator[str]:
    """*ids*, each once."""
    seen: set[str] = set()
    for task_id in ids:
        if task_id not in seen:
            seen.add(task_id)
            yield task_id


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 0:
        raise ValueError(f"limit must be 0 or more, not {limit!r}")


def _smaller(portion: int | None, limit: int | None, deleted: int) -> int | None:
    if limit is None:
        return None
    return limit - deleted if portion is None else min(portion, limit - deleted)
