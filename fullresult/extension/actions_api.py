"""The actions of the API: each under the same rules as commands and pages, and in the audit log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone, tzinfo
from itertools import islice
from typing import TYPE_CHECKING, Any

from celery.result import AsyncResult

from fullresult.actions.audit import Actor, AuditLog, actor_here
from fullresult.actions.batch import Report, would_resend
from fullresult.actions.bulk import resend_all
from fullresult.actions.deeds import Deeds
from fullresult.actions.missing import WAYS
from fullresult.actions.replays import Replays
from fullresult.actions.schedules import utc_of
from fullresult.actions.sending import Sending
from fullresult.actions.stopping import CannotStop, Signal, Stopping
from fullresult.actions.surgery import Surgery
from fullresult.extension.parts import Parts
from fullresult.extension.questions_api import whole_query_of
from fullresult.importers.deed import Import, Wish
from fullresult.importers.importing import Imported
from fullresult.insight.dates import length_of
from fullresult.insight.surgery.plan import How
from fullresult.record import TaskRecord
from fullresult.record.filters import TaskFilters
from fullresult.storage import ReplayStorage, TaskQuery

if TYPE_CHECKING:
    from typing_extensions import Unpack


class ActionsAPI:
    """Acts on the tasks of one app."""

    parts: Parts

    def acting(self, actor: Actor) -> Deeds:
        """The deeds of *actor*: commands and pages act through them. Raises `StorageError`."""
        parts = self.parts
        diverter = parts.diverter if parts.settings.schedule_eta else None
        known = (parts.app, parts.settings, parts.storage, parts.recorder)
        return Deeds(*known, actor, diverter)

    def delete(
        self,
        query: TaskQuery | None = None,
        *,
        all: bool = False,  # noqa: A002  # As `--all` of the command.
        limit: int | None = None,
        actor: str | None = None,
        **filters: Unpack[TaskFilters],
    ) -> int:
        """Delete the records that match, on all pages, at most *limit*. Returns how many.

        Raises like `find`, and `ValueError` for a *query* with a limit or an `after` of its own,
        and for one that finds every record, unless *all* is True: a filter whose value is None
        asks for nothing.
        """
        return self._deeds(actor).delete(_narrow(query, filters, all), limit)

    def purge(
        self, advance: Callable[[int], None] | None = None, *, actor: str | None = None
    ) -> int:
        """Delete the records that have expired by `fullresult_retention`. Returns how many.

        Only finished tasks expire. *advance* is called with the size of each batch. Raises
        `StorageError`.
        """
        return self._deeds(actor).purge(advance)

    def cancel(self, task_id: str, *, actor: str | None = None) -> bool:
        """Cancel a scheduled task: it becomes REVOKED, and is not sent.

        False if it is not scheduled, or if a sweeper has claimed it: then it is, or will be, sent.
        Raises `StorageError`.
        """
        return bool(self._deeds(actor).cancel([task_id]).done)

    def reschedule(self, task_id: str, eta: datetime | str, *, actor: str | None = None) -> bool:
        """Make a scheduled task due at *eta* instead, sooner or later.

        *eta* may be text, such as `in 2h`, `2030-01-31T14:00`, or `+1h`: an hour later than it is
        due. Without a time zone it is UTC, as in a message of Celery's. False if the task is not
        scheduled, or a sweeper has claimed it. Raises `ValueError` if *eta* is not a date;
        `StorageError`.
        """
        due = utc_of(eta, self.parts.storage.now())
        return bool(self._deeds(actor).reschedule([task_id], due).done)

    def revoke(self, task_id: str, *, actor: str | None = None) -> None:
        """Have every living worker drop a task that was sent and has not begun.

        Raises `CannotStop` if it runs, has ended, waits in the storage, or not all living workers
        confirmed it; `StorageError`.
        """
        _stopped(self.stopping(actor_here("python", actor)).revoke([task_id]))

    def terminate(
        self, task_id: str, *, signal: Signal = "SIGTERM", actor: str | None = None
    ) -> None:
        """Have the worker that runs a task end the process in which it runs.

        What the task has begun to do is half done. Raises `CannotStop` if it does not run, its
        worker is gone or cannot end one task; `ValueError` for a *signal* but SIGTERM, SIGKILL and
        SIGINT; `StorageError`.
        """
        _stopped(self.stopping(actor_here("python", actor)).terminate([task_id], signal))

    def send(
        self,
        name: str,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        actor: str | None = None,
        **options: Any,
    ) -> AsyncResult[Any]:
        """Send the task called *name* for a person, with the options of `apply_async`.

        It is in the audit log. Raises `LookupError` for a name that is no task of the app,
        `TypeError` for arguments that it does not take, and the errors of sending.
        """
        return self.sending(actor_here("python", actor)).send(name, args, kwargs, options)

    def sending(self, actor: Actor) -> Sending:
        """Sends tasks for *actor*: commands and pages send through it."""
        parts = self.parts
        return Sending(parts.app, parts.storage, parts.recorder, actor)

    def stopping(self, actor: Actor) -> Stopping:
        """Stops tasks for *actor*: commands and pages stop through it."""
        parts = self.parts
        return Stopping(parts.app, parts.settings, parts.storage, parts.recorder, actor)

    def release(self, task_id: str, *, actor: str | None = None) -> bool:
        """Give a claimed task back to the sweepers, to be sent, perhaps for the second time.

        False if it is not claimed, or was claimed within the last minute: its sweeper may be about
        to send it. Raises `StorageError`.
        """
        return bool(self._deeds(actor).release([task_id]).done)

    def resend_scheduled(self, task_id: str, *, actor: str | None = None) -> AsyncResult[Any]:
        """Send a scheduled task now, under its own id, whether it waits or was claimed.

        A claimed one may have been sent already. Raises `LookupError` if *task_id* has no schedule;
        `CannotResend` if a sweeper claimed it within the last minute, if another process was
        faster, if it had expired, or if the broker did not confirm it; `StorageError`.
        """
        self._deeds(actor).send_now(task_id)
        result: AsyncResult[Any] = self.parts.app.AsyncResult(task_id)
        return result

    def resend(
        self,
        task_id_or_record: str | TaskRecord,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        actor: str | None = None,
        **options: Any,
    ) -> AsyncResult[Any]:
        """Put a recorded task on the broker again, under a new id.

        The message is the recorded one, byte for byte: arguments, routing, headers, links, limits,
        serializer and stamps. It leaves its group or chord, which would count its outcome twice,
        unless `keep_group=True`. *args*, *kwargs* and *options* (those of `apply_async`) override
        the recorded ones. The new record's `retry_of` names the old task.

        Raises `CannotResend`, and sends nothing, if the recorded message is not whole;
        `LookupError` for an unknown id; `StorageError`; the broker's errors.
        """
        return self._deeds(actor).resend(task_id_or_record, args, kwargs, options)

    def surgery(
        self,
        task_id: str,
        how: How | None = None,
        *,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        actor: str | None = None,
    ) -> Surgery:
        """An operation on a workflow: its `plan()` shows what it would do, its `run()` does it.

        *how* is "resume" (go on with a chain at the step that failed), "heal" (run the members of a
        chord that failed again, so that its body runs) or "fork" (run a step and all that follows
        again under new ids, with new *args* and *kwargs* if given). Without it, the state of the
        task decides.
        """
        who = actor_here("python", actor)
        return self.operating(who, task_id, how, args=args, kwargs=kwargs)

    def operating(
        self, actor: Actor, task_id: str, how: How | None = None, **arguments: Any
    ) -> Surgery:
        """An operation of *actor*: commands and pages operate through it; see `surgery`."""
        parts = self.parts
        known = (parts.app, parts.storage, parts.recorder, actor, task_id, how)
        return Surgery(*known, **arguments)

    def resend_many(
        self,
        query: TaskQuery | None = None,
        *,
        ids: Iterable[str] | None = None,
        all: bool = False,  # noqa: A002  # As that of `delete`.
        limit: int | None = None,
        rate: float = 20.0,
        at_once: bool = False,
        dry_run: bool = False,
        actor: str | None = None,
        **filters: Unpack[TaskFilters],
    ) -> Report:
        """Put many recorded tasks on the broker again, as the command `resend` does.

        The tasks are those with these *ids*, or those that match *query*, or its fields as
        keywords: the oldest first, at most *limit*, and none that this call has sent. A task that
        cannot be sent is reported, and the others go on. After three errors of the broker in a row
        the rest is not tried. A *dry_run* only says which would be sent, and which ids are
        unknown. The order of *query* is ignored. Raises like `find`, and `ValueError` for a *query*
        with a limit or an `after` of its own, and for one that finds every record. What is dealt
        with is left out, because it was sent again since or was resolved. With *all*, neither.

        More than 100 that a query finds become a replay, if a sweeper is at work and there is no
        *limit*, *all* or *at_once*: sweepers send them, at *rate* tasks a second, and the answer
        has its `replay_id`. Raises `WrongReplay` if that would leave out every one of them.
        """
        deeds = self._deeds(actor)
        if ids is not None:
            if isinstance(ids, str):
                raise TypeError(f"ids must be several ids, not the text {ids!r}")
            if query is not None or filters or limit is not None:
                raise TypeError("give ids, or a query and a limit, not both")
            chosen = list(dict.fromkeys(ids))
            return would_resend(self.parts.storage, chosen) if dry_run else deeds.resend_ids(chosen)
        asked = _narrow(query, filters, all)
        if not all and asked.unresolved is None:
            asked = replace(asked, unresolved=True)
        if dry_run:
            found = islice(deeds.matching(asked), deeds.count(asked, limit))
            return Report(would_send=[task_id for task_id, _ in found])
        replays = None if at_once else self._replays(actor)
        return resend_all(deeds, replays, asked, limit, rate)

    def resend_missing(
        self,
        query: TaskQuery | None = None,
        *,
        stale: bool = False,
        stale_scheduled: bool = False,
        orphans: bool = False,
        age: timedelta | str | None = None,
        limit: int | None = None,
        dry_run: bool = False,
        actor: str | None = None,
        **filters: Unpack[TaskFilters],
    ) -> Report:
        """Send tasks again that went missing in the ways that are True, as `resend` does.

        *age* is the time after which a task counts as missing (`fullresult_stale_after`), or for
        which the worker of an orphan must be gone. *query*, or its fields as keywords, narrows the
        search; its order is ignored. Tasks are spared that were sent again, that a living worker
        runs, or that move on meanwhile; the answer says why. A *dry_run* only says which would be
        sent. Raises like `find`, `ValueError` for a negative *age* or a *query* with a limit or an
        `after` of its own, and `StorageError` for orphans if the storage keeps no heartbeats.
        """
        given = {"stale_scheduled": stale_scheduled, "orphans": orphans, "stale": stale}
        ways = [way for way in WAYS if given[way]]
        if not ways:
            raise TypeError("say what is missing: stale, stale_scheduled or orphans")
        narrowed = whole_query_of(query, filters) if query or filters else None
        age = None if age is None else length_of(age, "age")
        return self._deeds(actor).find_and_resend_missing(
            ways, narrowed, age, limit, dry_run=dry_run
        )

    @property
    def replays(self) -> Replays:
        """Replays, by the user of this process: batches of re-sends that go on by themselves."""
        return self.parts.replays(actor_here("python"))

    def replaying(self, actor: Actor) -> Replays:
        """Replays, by *actor*. Raises `StorageError` if the storage keeps none."""
        return self.parts.replays(actor)

    def importing(self, wish: Wish, actor: Actor) -> Import:
        """An import that has not begun: the command shows what it is of. Raises `CannotImport`."""
        parts = self.parts
        return Import(parts.app, parts.settings, parts.storage, parts.recorder, actor, wish)

    def import_records(
        self,
        source: str = "backend",
        url: str | None = None,
        *,
        since: datetime | timedelta | None = None,
        table: str | None = None,
        zone: tzinfo = timezone.utc,
        batch: int = 500,
        dry_run: bool = False,
        take_scheduled: bool = False,
        advance: Callable[[int], None] | None = None,
        actor: str | None = None,
    ) -> Imported:
        """Take over what another program recorded, as the command `import` does.

        *source* is `backend` (the app's own result backend), `django-celery-results`,
        `fulldbresult`, `celery` or `flower`; *url* says where it is. Only rows changed at *since*
        or later are read (a timedelta: so long ago), *batch* at a time; dates without a time zone
        are in *zone*. A *dry_run* writes nothing. *take_scheduled* makes schedules of the tasks
        that wait in the table of django-celery-fulldbresult. *advance* is called with the number of
        rows of each batch that are counted. A row that cannot be read is counted and logged, and
        the others go on. An import of the same source, *since* and *zone* that was interrupted is
        gone on with. Raises `CannotImport` if the source cannot be read at all; `StorageError`.
        """
        wish = Wish(
            source, url, since, table, zone, batch, dry_run=dry_run, take_scheduled=take_scheduled
        )
        with closing(self.importing(wish, actor_here("python", actor))) as job:
            return job.run(advance)

    def trigger(
        self, name: str, scheduler: str | None = None, *, actor: str | None = None
    ) -> AsyncResult[Any]:
        """Send the periodic task called *name* now, as beat would.

        Beat's own plan goes on as before. Raises `LookupError` for an unknown name, with the names
        that there are; `SchedulerError`; the errors of sending and of its arguments.
        """
        return self._deeds(actor).trigger(name, scheduler)

    def audit(
        self,
        action: str,
        *,
        actor: str,
        task_ids: Iterable[str] = (),
        details: Mapping[str, Any] | None = None,
        outcome: str = "done",
    ) -> None:
        """Write into the audit log that *actor* did *action*, dated by the storage's clock.

        Commands, pages and calls of this API do so themselves. One entry names at most 1,000
        tasks; more make several entries. Raises `StorageError`, also if there is no audit log.
        """
        log = AuditLog(self.parts.storage, self.parts.recorder.redactor)
        log.write(action, actor, task_ids, details, outcome)

    def _replays(self, actor: str | None) -> Replays | None:
        keeps = isinstance(self.parts.storage, ReplayStorage)
        return self.replaying(actor_here("python", actor)) if keeps else None

    def _deeds(self, actor: str | None) -> Deeds:
        return self.acting(actor_here("python", actor))


def _stopped(report: Report) -> None:
    """Raises `CannotStop` if the one task was not stopped."""
    for fate in report.fates:
        if fate.problem is not None:
            raise CannotStop(fate.problem)


def _narrow(
    query: TaskQuery | None,
    filters: Mapping[str, object],
    everything: bool,
) -> TaskQuery:
    """The query of an action. Raises `ValueError` if it finds all, and that was not asked for."""
    asked = whole_query_of(query, filters)
    if not everything and not asked.is_narrow:
        raise ValueError(
            "this would be done to every record, or nearly every one: say which tasks, by a filter "
            "that is not None or empty, and not only by what it leaves out, or give all=True"
        )
    return asked
