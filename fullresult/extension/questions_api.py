"""The questions of the API: records, numbers, schedules, lost tasks, beat's plan. They only read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from fullresult.actions.audit import AuditLog
from fullresult.extension.parts import Parts
from fullresult.insight.orphans import Orphans
from fullresult.insight.overdue import Overdue
from fullresult.insight.overview import CAP, Overview, Overviews
from fullresult.insight.stale import find_stale
from fullresult.insight.statistics import Statistics
from fullresult.record import TaskRecord, encoding
from fullresult.record.audit import AuditEntry, AuditQuery
from fullresult.record.schedule import Schedule, ScheduleQuery
from fullresult.storage import TaskQuery

if TYPE_CHECKING:
    from fullresult.insight.periodic import Periodic, PeriodicTask

_A_DAY = timedelta(days=1)


class QuestionsAPI:
    """Asks about the tasks of one app."""

    parts: Parts

    def get(self, task_id: str) -> TaskRecord | None:
        """All that is known of *task_id*; None if nothing is. Raises `StorageError`."""
        return self.parts.storage.get(encoding.key(task_id))

    def find(self, query: TaskQuery | None = None, **filters: Any) -> list[TaskRecord]:
        """The records that *query*, or its fields as keywords, asks for; newest first.

        Raises `StorageError`; `TypeError` or `ValueError` for filters that mean nothing.
        """
        return self.parts.storage.find(query_of(query, filters))

    def count(self, query: TaskQuery | None = None, **filters: Any) -> int:
        """How many records there are of which `find` would answer a page. Raises like it."""
        return self.parts.storage.count(query_of(query, filters))

    def count_states(
        self, query: TaskQuery | None = None, *, cap: int = CAP, **filters: Any
    ) -> dict[str, int]:
        """How many of what `find` asks for are in each state; beyond *cap* none is counted.

        Raises like `find`, and `StorageError` where the storage makes no statistics.
        """
        return self._overviews.states(query_of(query, filters), cap)

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
        return Overviews(self.parts.settings, self.parts.storage)

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
        age = self.parts.settings.stale_after if max_duration is None else max_duration
        return find_stale(self.parts.storage, age, acceptable_states, limit)

    def get_orphaned_tasks(
        self, gone_for: timedelta | None = None, *, limit: int | None = None, **filters: Any
    ) -> list[TaskRecord]:
        """Tasks that a worker began to run, and that is gone: killed, or not heard of for too long.

        With *gone_for*, only those whose worker was last heard of so long ago; *filters* are those
        of `find`. What was sent again is left out. Oldest first. Raises like `find`, and
        `StorageError` where the storage does not keep which workers are alive.
        """
        found = Orphans(self.parts.storage, gone_for).find(TaskQuery(**filters))
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
        return Overdue(self.parts.storage, self.parts.settings).page(max_duration, limit)

    def audit_log(self, query: AuditQuery | None = None, **filters: Any) -> list[AuditEntry]:
        """The entries of the audit log that *query*, or its fields as keywords, asks for.

        The newest first. Raises like `audit`; `TypeError` or `ValueError` for filters that mean
        nothing.
        """
        if query is not None and filters:
            raise TypeError("give an AuditQuery or its fields as keywords, not both")
        return AuditLog(self.parts.storage).find(query or AuditQuery(**filters))

    def periodic(self, scheduler: str | None = None) -> list[PeriodicTask]:
        """Every entry of beat's plan, by name, each with its last run.

        The plan is `beat_schedule`, what `add_periodic_task` added, and what a scheduler class
        keeps elsewhere: that of `beat_scheduler`, or *scheduler*. Raises `SchedulerError`,
        `StorageError`.
        """
        return self._periodic(scheduler).all()

    def _periodic(self, scheduler: str | None) -> Periodic:
        from fullresult.insight.periodic import Periodic  # with beat, which few processes need

        recorder = self.parts.recorder
        return Periodic(
            self.parts.app, recorder.settings, self.parts.storage, recorder.redactor, scheduler
        )


def _schedules(
    query: TaskQuery | None,
    filters: Mapping[str, Any],
    *,
    due_until: datetime | None,
    claimed: bool | None,
) -> ScheduleQuery:
    tasks = query_of(query, filters) if query or filters else None
    return ScheduleQuery(tasks=tasks, due_until=due_until, claimed=claimed)


def query_of(query: TaskQuery | None, filters: Mapping[str, Any]) -> TaskQuery:
    if query is None:
        return TaskQuery(**filters)
    if filters:
        raise TypeError("give a TaskQuery or its fields as keywords, not both")
    return query
