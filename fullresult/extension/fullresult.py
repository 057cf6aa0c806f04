"""`FullResult(app)`: what is put into an app, and the API that people call."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.local import Proxy
from celery.result import AsyncResult

from fullresult.actions.audit import Actor, AuditLog, actor_here, filters_of
from fullresult.actions.batch import Report
from fullresult.actions.deeds import Deeds
from fullresult.actions.missing import WAYS
from fullresult.actions.schedules import utc_of
from fullresult.config import Settings
from fullresult.extension import signals, tasks
from fullresult.extension.control import watch_control
from fullresult.extension.parts import Parts
from fullresult.extension.report import show_no_password
from fullresult.extension.send_task import watch
from fullresult.insight.orphans import Orphans
from fullresult.insight.overdue import Overdue
from fullresult.insight.overview import CAP, Overview, Overviews
from fullresult.insight.stale import find_stale
from fullresult.insight.statistics import Statistics
from fullresult.outage.spool import SpoolStatus
from fullresult.record import TaskRecord, encoding
from fullresult.record.audit import AuditEntry, AuditQuery
from fullresult.record.schedule import Schedule, ScheduleQuery
from fullresult.recording.recorder import Recorder
from fullresult.scheduling.diverter import Diverter
from fullresult.storage import Storage, TaskQuery

if TYPE_CHECKING:
    from fullresult.insight.periodic import Periodic, PeriodicTask

_A_DAY = timedelta(days=1)


class FullResult:
    """The memory of a Celery app.

    `FullResult(app)` is all there is to install; it is found again as `app.fullresult`. It may be
    made before or after the app is configured or finalised, and more than once. The configuration
    is read, and the storage opened, when first needed. *plugins* have hooks of
    `fullresult.hookspecs`, such as `fullresult_router`.
    """

    app: Celery
    parts: Parts

    def __new__(  # noqa: PYI034  (the one that is installed)
        cls, app: Celery, plugins: Iterable[object] = ()
    ) -> FullResult:
        if isinstance(app, Proxy):
            app = app._get_current_object()  # noqa: SLF001  (the proxy means another one later)
        installed = getattr(app, "fullresult", None)
        if isinstance(installed, FullResult):
            self = installed
        else:
            self = super().__new__(cls)
            self._install(app)
        self.parts.add_plugins(plugins)
        return self

    def _install(self, app: Celery) -> None:
        self.app = app
        self.parts = Parts(app)
        app.send_task = watch(self.parts, app.send_task)
        app.fullresult = self
        watch_control(self.parts)
        tasks.register(self.parts)
        signals.connect()
        show_no_password(app)

    def __repr__(self) -> str:
        return f"<FullResult of {self.app.main or 'an app without a name'}>"

    @property
    def settings(self) -> Settings:
        """The app's `fullresult_*` configuration. Raises `ImproperlyConfigured`."""
        return self.parts.settings

    @property
    def storage(self) -> Storage:
        """The storage that `fullresult_storage` names. Raises `ImproperlyConfigured`."""
        return self.parts.storage

    @property
    def recorder(self) -> Recorder:
        """Makes events of what Celery's signals say. Raises `ImproperlyConfigured`."""
        return self.parts.recorder

    @property
    def diverter(self) -> Diverter:
        """Stores the tasks that are to run later. Raises `ImproperlyConfigured`."""
        return self.parts.diverter

    def start_sweeper(self) -> None:
        """Send what is due from a thread of this process, until `stop_sweeper`."""
        self.parts.start_sweeper()

    def stop_sweeper(self, timeout: timedelta | None = None) -> None:
        """Have the thread stop after the message it is sending, and wait *timeout* for that."""
        self.parts.stop_sweeper(timeout)

    def setup(self) -> None:
        """Create or upgrade what the storage needs. Raises `StorageError`."""
        self.storage.setup()

    def close(self) -> None:
        """Let go of the storage's connections in this process.

        What waits in the spool is written first, for two seconds at most, if the storage answers.
        """
        self.parts.close()

    def spool_status(self) -> SpoolStatus | None:
        """What waits on this host for the storage to take it; None where there is no spool."""
        flusher = self.recorder.writer.flusher
        return None if flusher is None else flusher.status()

    def flush_spool(self, advance: Callable[[int], None] | None = None) -> int:
        """Write what waits of this process, and of those that are gone; returns how many events.

        In batches, of each of which *advance* is told how many it had. Other processes that live
        write their own. Raises `StorageError`.
        """
        flusher = self.recorder.writer.flusher
        return 0 if flusher is None else flusher.flush(advance)

    def get(self, task_id: str) -> TaskRecord | None:
        """All that is known of *task_id*; None if nothing is. Raises `StorageError`."""
        return self.storage.get(encoding.key(task_id))

    def find(self, query: TaskQuery | None = None, **filters: Any) -> list[TaskRecord]:
        """The records that *query*, or its fields as keywords, asks for; newest first.

        Raises `StorageError`; `TypeError` or `ValueError` for filters that mean nothing.
        """
        return self.storage.find(_query(query, filters))

    def count(self, query: TaskQuery | None = None, **filters: Any) -> int:
        """How many records there are of which `find` would answer a page. Raises like it."""
        return self.storage.count(_query(query, filters))

    def count_states(
        self, query: TaskQuery | None = None, *, cap: int = CAP, **filters: Any
    ) -> dict[str, int]:
        """How many of what `find` asks for are in each state; beyond *cap* none is counted.

        Raises like `find`, and `StorageError` where the storage makes no statistics.
        """
        return self._overviews.states(_query(query, filters), cap)

    def statistics(
        self,
        since: datetime | timedelta = _A_DAY,
        until: datetime | None = None,
        *,
        buckets: int = 24,
    ) -> Statistics:
        """What became of the tasks that were created in a span of time, in so many parts of it.

        Until now, by the storage's clock, or *until*; since a time, or for a length of time. Where
        there are too many, of each part only the newest are looked at, and `sampled` says so.
        Raises `ValueError` for a span that cannot be cut so; `StorageError`.
        """
        return self._overviews.statistics(since, until, buckets)

    def overview(
        self,
        since: datetime | timedelta = _A_DAY,
        until: datetime | None = None,
        *,
        buckets: int = 24,
        cap: int = CAP,
    ) -> Overview:
        """`statistics`, how many tasks are in which state, what is late, how late sweepers are.

        No number goes beyond *cap*, but those of the statistics. Raises like `statistics`.
        """
        return self._overviews.overview(since, until, buckets, cap)

    @property
    def _overviews(self) -> Overviews:
        return Overviews(self.settings, self.storage)

    def acting(self, actor: Actor) -> Deeds:
        """What *actor* may do: the commands and pages act through it. Raises `StorageError`."""
        return Deeds(self.app, self.settings, self.storage, self.recorder, actor)

    def _deeds(self, actor: str | None) -> Deeds:
        return self.acting(actor_here("python", actor))

    def delete(
        self,
        query: TaskQuery | None = None,
        *,
        limit: int | None = None,
        actor: str | None = None,
        **filters: Any,
    ) -> int:
        """Delete the records that `count` counts, at most *limit*; returns how many.

        Like `count` it means all that match, whatever page *query* is of. Raises like `find`.
        """
        return self._deeds(actor).delete(_query(query, filters), limit)

    def purge(
        self, advance: Callable[[int], None] | None = None, *, actor: str | None = None
    ) -> int:
        """Delete the records whose time, by `fullresult_retention`, is over; returns how many.

        Only tasks that have ended ever expire. In small batches, of each of which *advance* is told
        how many records it had. Raises `StorageError`.
        """
        return self._deeds(actor).purge(advance)

    def get_stale_tasks(
        self,
        max_duration: timedelta | None = None,
        acceptable_states: Collection[str] | None = None,
        *,
        limit: int | None = None,
    ) -> list[TaskRecord]:
        """Tasks that neither finished nor moved for *max_duration* (`fullresult_stale_after`).

        A task has moved when anything was recorded of it, and is not stale before its ETA. With
        *acceptable_states*, all those in another state. Oldest first. Raises `StorageError`.
        """
        age = self.settings.stale_after if max_duration is None else max_duration
        return find_stale(self.storage, age, acceptable_states, limit)

    def get_orphaned_tasks(
        self, gone_for: timedelta | None = None, *, limit: int | None = None, **filters: Any
    ) -> list[TaskRecord]:
        """Tasks that a worker began to run, and that is gone: killed, or not heard of for too long.

        With *gone_for*, only those whose worker was last heard of so long ago; *filters* are those
        of `find`. What was sent again is left out. Oldest first. Raises like `find`, and
        `StorageError` where the storage does not keep which workers are alive.
        """
        found = Orphans(self.storage, gone_for).find(TaskQuery(**filters))
        return [orphan.record for orphan in islice(found, limit)]

    def scheduled(
        self,
        query: TaskQuery | None = None,
        *,
        due_until: datetime | None = None,
        claimed: bool | None = None,
        limit: int | None = 100,
        after: str | None = None,
        **filters: Any,
    ) -> list[Schedule]:
        """What waits in the storage, or was claimed and not yet marked sent; the first due first.

        *query*, or its fields as keywords, asks for tasks whose records match. *due_until*: due at
        that time or earlier; *after*: the `cursor` of the last one of the page before. Of every
        namespace. Raises like `find`.
        """
        asked = _schedules(query, filters, due_until=due_until, claimed=claimed)
        return self.parts.schedule_storage.find_schedules(replace(asked, limit=limit, after=after))

    def count_scheduled(
        self,
        query: TaskQuery | None = None,
        *,
        due_until: datetime | None = None,
        claimed: bool | None = None,
        **filters: Any,
    ) -> int:
        """How many there are of which `scheduled` would answer a page. Raises like it."""
        asked = _schedules(query, filters, due_until=due_until, claimed=claimed)
        return self.parts.schedule_storage.count_schedules(asked)

    def get_stale_scheduled_tasks(
        self, max_duration: timedelta | None = None, *, limit: int | None = None
    ) -> list[Schedule]:
        """What has been due for *max_duration* (`fullresult_stale_after`) and is not sent.

        Where `claimed`, a sweeper took it and did not say that it was sent: perhaps it was. Where
        not, no sweeper of its namespace is at work. The first due first. Raises `StorageError`.
        """
        return Overdue(self.storage, self.settings).page(max_duration, limit)

    def cancel(self, task_id: str, *, actor: str | None = None) -> bool:
        """Cancel a scheduled task: it becomes REVOKED, and is not sent.

        False if it is not scheduled, or a sweeper has it already: then it is, or will be, sent.
        Raises `StorageError`.
        """
        return bool(self._deeds(actor).cancel([task_id]).done)

    def reschedule(self, task_id: str, eta: datetime | str, *, actor: str | None = None) -> bool:
        """Make a scheduled task due at *eta* instead, sooner or later.

        *eta* may be text, such as `in 2h` or `2030-01-31T14:00`. Without a time zone it is UTC, as
        in a message of Celery's. False if the task is not scheduled, or a sweeper has it already.
        Raises `ValueError` for what is no date; `StorageError`.
        """
        due = utc_of(eta, self.storage.now())
        return bool(self._deeds(actor).reschedule([task_id], due).done)

    def release(self, task_id: str, *, actor: str | None = None) -> bool:
        """Give a claimed task back to the sweepers, to be sent, perhaps for the second time.

        False if nobody has claimed it, or only within the last minute: then its sweeper is about to
        send it. Raises `StorageError`.
        """
        return bool(self._deeds(actor).release([task_id]).done)

    def resend_scheduled(self, task_id: str, *, actor: str | None = None) -> AsyncResult[Any]:
        """Send a scheduled task now, under its own id, whether it waits or was claimed.

        One that was claimed may have been sent already. Raises `LookupError` if nothing is
        scheduled of *task_id*; `CannotResend` if a sweeper claimed it within the last minute, if
        somebody else was faster, if it had expired, or if the broker did not confirm it;
        `StorageError`.
        """
        self._deeds(actor).send_now(task_id)
        result: AsyncResult[Any] = self.app.AsyncResult(task_id)
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
        serializer and stamps. Not so: membership of a group or chord, unless `keep_group=True` (its
        outcome would be counted twice). *args*, *kwargs* and *options* (those of `apply_async`)
        override. The new record's `retry_of` names the old task.

        Raises `CannotResend`, and sends nothing, where the recorded message is not whole;
        `LookupError` for an unknown id; `StorageError`; what the broker raises.
        """
        return self._deeds(actor).resend(task_id_or_record, args, kwargs, options)

    def resend_many(
        self,
        query: TaskQuery | None = None,
        *,
        ids: Iterable[str] | None = None,
        limit: int | None = None,
        dry_run: bool = False,
        actor: str | None = None,
        **filters: Any,
    ) -> Report:
        """Put many recorded tasks on the broker again, as they were: as the command `resend` does.

        Those with these *ids* or, the oldest first, those that *query*, or its fields as keywords,
        asks for: at most *limit*, and none that this call has sent. A task that cannot be sent is
        reported, and the others go on; after three errors of the broker in a row none is tried any
        more. A *dry_run* only says which would be sent. Raises like `find`.
        """
        deeds = self._deeds(actor)
        if ids is not None:
            if query is not None or filters or limit is not None:
                raise TypeError("give ids, or a query and a limit, not both")
            chosen = list(dict.fromkeys(ids))
            return Report(would_send=chosen) if dry_run else deeds.resend_ids(chosen)
        if query is None and not filters:
            raise TypeError("say which tasks: ids, a TaskQuery, or its fields as keywords")
        asked = _query(query, filters)
        if dry_run:
            found = islice(deeds.matching(asked), deeds.count(asked, limit))
            return Report(would_send=[task_id for task_id, _ in found])
        return deeds.resend_matching(asked, limit)

    def resend_missing(
        self,
        query: TaskQuery | None = None,
        *,
        stale: bool = False,
        stale_scheduled: bool = False,
        orphans: bool = False,
        age: timedelta | None = None,
        limit: int | None = None,
        dry_run: bool = False,
        actor: str | None = None,
        **filters: Any,
    ) -> Report:
        """Send what went missing in the ways that are True: as the command `resend` does.

        *age* says how long is too long (`fullresult_stale_after`; of an orphan, for how long its
        worker has to be gone); *query*, or its fields as keywords, narrows. Spared are tasks that
        were sent again, that a living worker runs, or that move on meanwhile; the answer says why.
        A *dry_run* only says which would be sent. Raises like `find`; `StorageError` for orphans
        where the storage does not keep which workers are alive.
        """
        given = {"stale_scheduled": stale_scheduled, "orphans": orphans, "stale": stale}
        ways = [way for way in WAYS if given[way]]
        if not ways:
            raise TypeError("say what is missing: stale, stale_scheduled or orphans")
        narrowed = _query(query, filters) if query or filters else None
        deeds = self._deeds(actor)
        missing = deeds.missing(narrowed, age, limit)
        chosen = [
            (loss.way, task_id, seen)
            for loss in missing.find(ways)
            for task_id, seen in loss.seen.items()
        ]
        if dry_run:
            return Report(missing.spared, would_send=[task_id for _, task_id, _ in chosen])
        report = deeds.resend_missing(chosen, {**filters_of(narrowed), "missing": ways})
        return replace(report, fates=[*missing.spared, *report.fates])

    def audit(
        self,
        action: str,
        *,
        actor: str,
        task_ids: Iterable[str] = (),
        details: Mapping[str, Any] | None = None,
        outcome: str = "done",
    ) -> None:
        """Keep in the audit log that *actor* did *action*, dated by the storage's clock.

        Commands, pages and calls of this API do it themselves. Of more than 1,000 tasks there are
        several entries. Raises `StorageError`, also where the storage keeps no audit log.
        """
        log = AuditLog(self.storage, self.recorder.redactor)
        log.write(action, actor, task_ids, details, outcome)

    def audit_log(self, query: AuditQuery | None = None, **filters: Any) -> list[AuditEntry]:
        """The entries of the audit log that *query*, or its fields as keywords, asks for.

        The newest first. Raises like `audit`; `TypeError` or `ValueError` for filters that mean
        nothing.
        """
        if query is not None and filters:
            raise TypeError("give an AuditQuery or its fields as keywords, not both")
        return AuditLog(self.storage).find(query or AuditQuery(**filters))

    def periodic(self, scheduler: str | None = None) -> list[PeriodicTask]:
        """Every entry of beat's plan, by name, each with its last run.

        The plan is `beat_schedule`, what `add_periodic_task` added, and what a scheduler class
        keeps elsewhere: that of `beat_scheduler`, or *scheduler*. Raises `SchedulerError`,
        `StorageError`.
        """
        return self._periodic(scheduler).all()

    def trigger(
        self, name: str, scheduler: str | None = None, *, actor: str | None = None
    ) -> AsyncResult[Any]:
        """Send the entry of beat's plan called *name* now, as beat would.

        Beat's own count of time goes on as before. Raises `LookupError` for an unknown name, which
        tells those there are; `SchedulerError`; what sending and its arguments raise.
        """
        return self._deeds(actor).trigger(name, scheduler)

    def _periodic(self, scheduler: str | None) -> Periodic:
        from fullresult.insight.periodic import Periodic  # with beat, which few processes need

        recorder = self.recorder
        return Periodic(self.app, recorder.settings, self.storage, recorder.redactor, scheduler)


def _schedules(
    query: TaskQuery | None,
    filters: Mapping[str, Any],
    *,
    due_until: datetime | None,
    claimed: bool | None,
) -> ScheduleQuery:
    tasks = _query(query, filters) if query or filters else None
    return ScheduleQuery(tasks=tasks, due_until=due_until, claimed=claimed)


def _query(query: TaskQuery | None, filters: Mapping[str, Any]) -> TaskQuery:
    if query is None:
        return TaskQuery(**filters)
    if filters:
        raise TypeError("give a TaskQuery or its fields as keywords, not both")
    return query
