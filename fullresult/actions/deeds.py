"""The deeds of one app for one actor: what a command, a page or a call of the API asks for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from fullresult.actions.audit import Trail, filters_of
from fullresult.actions.batch import Batch, Fate, Report
from fullresult.actions.errors import NotDone, sending
from fullresult.actions.missing import Missing, Sparing, Way
from fullresult.actions.resend import Resender
from fullresult.actions.schedules import Scheduled, utc_of
from fullresult.actions.why_not import why_not_moved, why_not_released
from fullresult.insight.document import plain
from fullresult.record import TaskRecord, encoding, pages
from fullresult.scheduling.revoked_results import store_revoked
from fullresult.scheduling.sender import Sender
from fullresult.storage import purging, with_schedules

if TYPE_CHECKING:
    from datetime import datetime

    from celery import Celery
    from celery.result import AsyncResult

    from fullresult.actions.audit import Actor
    from fullresult.config import Settings
    from fullresult.recording.recorder import Recorder
    from fullresult.storage import Storage, TaskQuery

_PAGE = 100
_TOLD = frozenset(
    {"task_id", "queue", "exchange", "routing_key", "priority"}
    | {"countdown", "eta", "expires", "keep_group"}
)
"""Options of a re-send whose values the audit log has; of others, such as headers, the name."""


@dataclass(frozen=True)
class Pace:
    """How long many tasks are acted on, and who hears of each."""

    patience: float | None = None
    """Seconds after which the rest is left for another time; None: all is done at once."""
    tell: Callable[[Fate], object] | None = None


AT_ONCE = Pace()


class Deeds:
    """What one actor may do. Each deed, also one that fails, is written to the audit log.

    All raise `StorageError`.
    """

    def __init__(
        self, app: Celery, settings: Settings, storage: Storage, recorder: Recorder, actor: Actor
    ) -> None:
        self._app = app
        self._settings = settings
        self._storage = storage
        self._recorder = recorder
        self._actor = actor
        self._resender = Resender(app, recorder)

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
        trail = self._trail("resend", _changes(args, kwargs, options))
        with _failure_told(trail, [task_id]):
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
        """Send the tasks again as they were, at most *limit*; None stands for an unknown one.

        What was sent here is not sent once more, should it come up among *records*. *asked* are
        details for the audit log.
        """
        new: set[str] = set()

        def send(item: tuple[str, TaskRecord | None]) -> str:
            task_id, record = item
            if record is None:
                raise NotDone(f"no task {task_id!r} is recorded")
            new_id = self._send_again(record)
            new.add(new_id)
            return new_id

        old = ((item[0], item) for item in records if item[0] not in new)
        return self._batch("resend", asked, pace).run(islice(old, limit), send)

    def resend_ids(
        self, ids: Iterable[str], asked: Mapping[str, Any] | None = None, pace: Pace = AT_ONCE
    ) -> Report:
        """`resend_each` of the tasks with these ids."""
        found = ((task_id, self._storage.get(encoding.key(task_id))) for task_id in _unique(ids))
        return self.resend_each(found, asked, pace)

    def resend_matching(
        self, query: TaskQuery, limit: int | None = None, pace: Pace = AT_ONCE
    ) -> Report:
        """`resend_each` of what *query* asks for, the oldest first.

        No more than match now: re-sends make records that may match, too.
        """
        number = self.count(query, limit)
        return self.resend_each(self.matching(query), filters_of(query), pace, number)

    def count(self, query: TaskQuery, limit: int | None) -> int:
        number = self._storage.count(query)
        return number if limit is None else min(number, limit)

    def matching(self, query: TaskQuery) -> Iterator[tuple[str, TaskRecord]]:
        """What `resend_matching` sends, with ids."""
        page = replace(query, limit=_PAGE, order="oldest", after=None)
        for record in pages.walk(self._storage.find, page):
            yield record.task_id, record

    def missing(
        self,
        query: TaskQuery | None = None,
        age: timedelta | None = None,
        limit: int | None = None,
    ) -> Missing:
        """What went missing, to be looked for and then sent by `resend_missing`."""
        return Missing(self._storage, self._settings, self._app.tasks, query, age, limit)

    def resend_missing(
        self,
        chosen: Iterable[tuple[Way, str, str | None]],
        asked: Mapping[str, Any] | None = None,
        pace: Pace = AT_ONCE,
    ) -> Report:
        """Send what went missing, each as (way, task id, how it was `seen_as`).

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
            return self._batch("resend", asked, pace).run(items, send)
        finally:
            sender.close()

    def _send_again(self, record: TaskRecord) -> str:
        with sending(record.task_id):
            return str(self._resender.resend(record, None, None, {}).id)

    def _get(self, task_id: str) -> TaskRecord:
        record = self._storage.get(encoding.key(task_id))
        if record is None:
            raise LookupError(f"no task {task_id!r} is recorded")
        return record

    # What is scheduled

    @property
    def _scheduled(self) -> Scheduled:
        storage = with_schedules(self._storage)
        return Scheduled(self._settings, storage, partial(store_revoked, self._app))

    @property
    def now(self) -> datetime:
        """By the storage's clock, which says what is due."""
        return self._storage.now()

    def due_at(self, eta: datetime | timedelta | str) -> datetime:
        """*eta* in UTC: a date, text such as `in 2h`, or a length of time from `now`."""
        return self.now + eta if isinstance(eta, timedelta) else utc_of(eta, self.now)

    def cancel(
        self, ids: Iterable[str], asked: Mapping[str, Any] | None = None, pace: Pace = AT_ONCE
    ) -> Report:
        """Cancel what waits of these tasks."""

        def cancel(task_id: str) -> None:
            if not self._scheduled.cancel(task_id):
                raise NotDone(why_not_moved(self._storage, task_id))

        return self._each("cancel", ids, asked, pace, cancel)

    def reschedule(self, ids: Iterable[str], due: datetime, pace: Pace = AT_ONCE) -> Report:
        """Make what waits of these tasks due at that time."""

        def move(task_id: str) -> None:
            if not self._scheduled.reschedule(task_id, due):
                raise NotDone(why_not_moved(self._storage, task_id))

        return self._each("reschedule", ids, {"eta": due.isoformat()}, pace, move)

    def release(self, ids: Iterable[str], pace: Pace = AT_ONCE) -> Report:
        """Give what was claimed of these tasks back to the sweepers."""

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
            with _failure_told(trail, [task_id]):
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
        """Send an entry of beat's plan now; see `FullResult.trigger`."""
        # With beat, which few processes need.
        from fullresult.actions.trigger import Trigger
        from fullresult.insight.periodic import Periodic

        trail = self._trail("trigger", {"name": plain(name)})
        with _failure_told(trail):
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
        """Delete what *query* asks for, at most *limit* records; returns how many.

        All at once or, if there is a *limit*, in portions; *advance* is told the size of each.
        """
        trail, deleted = self._trail("delete", filters_of(query)), 0
        try:
            while limit is None or deleted < limit:
                some = self._storage.delete(
                    replace(query, limit=_smaller(portion, limit, deleted), after=None)
                )
                deleted += some
                if advance is not None:
                    advance(some)
                if not some or limit is None or portion is None:
                    break
        finally:
            # What was deleted before somebody lost patience is written as well.
            if deleted:
                trail.write([], {"deleted": deleted})
        return deleted

    def purge(self, advance: Callable[[int], None] | None = None) -> int:
        """Delete what `fullresult_retention` keeps no longer; returns how many records."""
        deleted = purging.purge(self._storage, advance)
        self._trail("purge").write([], {"deleted": deleted})
        return deleted

    def note(self, action: str, details: Mapping[str, Any]) -> None:
        """Write an action to the audit log that is none of these, such as a log-in."""
        self._trail(action).write([], details)

    def _each(
        self,
        action: str,
        ids: Iterable[str],
        asked: Mapping[str, Any] | None,
        pace: Pace,
        do: Callable[[str], str | None],
    ) -> Report:
        return self._batch(action, asked, pace).run(((each, each) for each in _unique(ids)), do)

    def _batch(self, action: str, asked: Mapping[str, Any] | None, pace: Pace) -> Batch:
        return Batch(self._trail(action, asked), pace.patience, pace.tell)

    def _trail(self, action: str, details: Mapping[str, Any] | None = None) -> Trail:
        return Trail(self._storage, self._recorder.redactor, self._actor, action, details)


@contextmanager
def _failure_told(trail: Trail, task_ids: Collection[str] = ()) -> Iterator[None]:
    """Write what is raised to the audit log, and let it go on."""
    try:
        yield
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


def _smaller(portion: int | None, limit: int | None, deleted: int) -> int | None:
    if limit is None:
        return None
    return limit - deleted if portion is None else min(portion, limit - deleted)


def _changes(
    args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """What a re-send changes. Not the arguments themselves: the new record has them."""
    changed = [part for part, given in (("args", args), ("kwargs", kwargs)) if given is not None]
    changed += sorted(options.keys() - _TOLD)
    told = {name: plain(options[name]) for name in sorted(options.keys() & _TOLD)}
    return {**({"changed": changed} if changed else {}), **told}
