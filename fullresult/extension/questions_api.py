"""The questions of the API: records, numbers, schedules, lost tasks, beat's plan; all only read."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from fullresult.actions.audit import AuditLog
from fullresult.extension.records_api import RecordsAPI, query_of
from fullresult.insight.dates import length_of
from fullresult.insight.fleet import Fleet, fleet_of
from fullresult.insight.orphans import Orphans
from fullresult.insight.overdue import Overdue
from fullresult.insight.queues import Queues, queues_of
from fullresult.insight.stale import find_stale
from fullresult.record import TaskRecord, encoding
from fullresult.record.audit import AuditEntry, AuditQuery
from fullresult.record.filters import TaskFilters
from fullresult.record.schedule import Schedule, ScheduleQuery
from fullresult.storage import TaskQuery

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from fullresult.insight.check.check import Against
    from fullresult.insight.check.findings import Findings
    from fullresult.insight.doctor.risk import Checkup
    from fullresult.insight.explain.explanation import Explanation
    from fullresult.insight.periodic import Periodic, PeriodicTask

_A_DAY = timedelta(days=1)


class QuestionsAPI(RecordsAPI):
    """Asks about the tasks of one app."""

    def get(self, task_id: str) -> TaskRecord | None:
        """The record of *task_id*; None if there is none. Raises `StorageError`."""
        return self.parts.storage.get(encoding.key(task_id))

    def get_stale_tasks(
        self,
        max_duration: timedelta | str | None = None,
        acceptable_states: Collection[str] | None = None,
        *,
        limit: int | None = None,
    ) -> list[TaskRecord]:
        """Tasks that are not finished and had no event for *max_duration*; oldest first.

        The default is `fullresult_stale_after`. With an ETA, the time counts from the ETA. With
        *acceptable_states*, tasks in any other state are answered, finished or not. Raises
        `StorageError`.
        """
        given = _length(max_duration, "max_duration")
        age = self.parts.settings.stale_after if given is None else given
        return find_stale(self.parts.storage, age, acceptable_states, limit)

    def get_orphaned_tasks(
        self,
        gone_for: timedelta | str | None = None,
        *,
        limit: int | None = None,
        **filters: Unpack[TaskFilters],
    ) -> list[TaskRecord]:
        """Tasks that a worker began to run and that worker is gone; oldest first.

        A worker is gone if its heartbeat stopped; with *gone_for*, if it stopped that long ago.
        *filters* are those of `find`. Tasks that were sent again are left out. Raises like `find`,
        and `StorageError` if the storage keeps no heartbeats.
        """
        found = Orphans(self.parts.storage, _length(gone_for, "gone_for")).find(
            TaskQuery(**cast("Any", filters))
        )
        return [orphan.record for orphan in islice(found, limit)]

    def explain(self, task_id: str, *, offline: bool = False) -> Explanation:
        """Why the task is as it is: a sentence, how sure it is, the evidence, and what to do.

        Workers and the broker are asked where that can tell, for about a second; with *offline*
        only the storage is. Changes nothing. Raises `StorageError`.
        """
        from fullresult.extension.asking import Asking  # few processes need what explains
        from fullresult.insight.explain.explain import explain

        live = None if offline else Asking(self.parts.app)
        return explain(self.parts.storage, self.parts.settings, task_id, live)

    def workers(self, *, running: bool = True) -> Fleet:
        """Every worker that is known: if it lives, what it is, and what it runs.

        From the storage alone. Without *running*, what runs is looked for only if a worker went
        away without a word. Raises `StorageError`, also if the storage keeps no workers.
        """
        return fleet_of(self.parts.storage, running=running)

    def queues(self, *, offline: bool = False) -> Queues:
        """Every queue that is known: what waits in it, since when, and who consumes it.

        The broker is asked, for 1.5 s at most; with *offline* only the storage is. Raises
        `StorageError`.
        """
        from fullresult.extension.asking import Asking  # few processes need what asks

        live = None if offline else Asking(self.parts.app)
        return queues_of(self.parts.storage, self.parts.settings, live)

    def doctor(self, *, offline: bool = False) -> Checkup:
        """The risks of this app, each with its evidence, why it matters, and what to set.

        Workers are asked, for about a second; with *offline* only the storage is. Raises
        `StorageError`.
        """
        from fullresult.extension.patient import patient_of  # few processes need what examines
        from fullresult.insight.doctor.doctor import examine

        return examine(patient_of(self.parts, self.periodic, offline=offline))

    def scheduled(
        self,
        query: TaskQuery | None = None,
        *,
        due_until: datetime | None = None,
        claimed: bool | None = None,
        limit: int | None = 100,
        after: str | None = None,
        **filters: Unpack[TaskFilters],
    ) -> list[Schedule]:
        """The schedules that are not marked sent, of every namespace; the first due first.

        *query*, or its fields as keywords, selects tasks by their records. *due_until* selects
        schedules that are due at that time or earlier; *after* is the `cursor` of the last one of
        the page before. Raises like `find`.
        """
        asked = _schedules(query, filters, due_until=due_until, claimed=claimed)
        return self.parts.schedule_storage.find_schedules(replace(asked, limit=limit, after=after))

    def count_scheduled(
        self,
        query: TaskQuery | None = None,
        *,
        due_until: datetime | None = None,
        claimed: bool | None = None,
        **filters: Unpack[TaskFilters],
    ) -> int:
        """The number of schedules that match, on all pages of `scheduled`. Raises like it."""
        asked = _schedules(query, filters, due_until=due_until, claimed=claimed)
        return self.parts.schedule_storage.count_schedules(asked)

    def get_stale_scheduled_tasks(
        self, max_duration: timedelta | str | None = None, *, limit: int | None = None
    ) -> list[Schedule]:
        """Schedules that have been due for *max_duration* and are not marked sent; oldest first.

        The default is `fullresult_stale_after`. If `claimed`, a sweeper took it, and may have sent
        it. If not, no sweeper of its namespace is at work. Raises `StorageError`.
        """
        return Overdue(self.parts.storage, self.parts.settings).page(
            _length(max_duration, "max_duration"), limit
        )

    def audit_log(self, query: AuditQuery | None = None, **filters: Any) -> list[AuditEntry]:
        """The audit entries that match *query*, or its fields as keywords; newest first.

        Raises like `audit`; `TypeError` or `ValueError` for wrong filters.
        """
        if query is not None and filters:
            raise TypeError("give an AuditQuery or its fields as keywords, not both")
        return AuditLog(self.parts.storage).find(query or AuditQuery(**filters))

    def check(
        self,
        *,
        recent: timedelta = _A_DAY,
        queues: Collection[str] = (),
        against: Against | None = None,
        known: Collection[str] = (),
        scheduler: str | None = None,
        values: int = 1,
    ) -> Findings:
        """What would break if the code that runs here took what waits in the storage.

        Tasks that ended in the time *recent* make warnings: so callers may go on to call them.
        Queues are compared with *queues*; else with those of the configuration (*against* is
        "declared") or of the workers that live ("live"), by default the first of these that names
        any. *known* are keys of findings that are accepted. Models validate the values of as many
        messages of each kind of call as *values* says. Raises `StorageError`, and
        `ImproperlyConfigured` if a module of the app cannot be imported.
        """
        from fullresult.insight.check.check import Check

        periodic = self._periodic(scheduler)
        parts = self.parts
        return Check(
            parts.app,
            parts.settings,
            parts.storage,
            periodic,
            recent=recent,
            queues=queues,
            against=against,
            values=values,
        ).run(known)

    def periodic(
        self, scheduler: str | None = None, *, seconds: float | None = None
    ) -> list[PeriodicTask]:
        """Every periodic task of beat's plan, by name, each with its last run.

        After about *seconds* no more runs are looked for: `looked` is then False.

        The plan is `beat_schedule`, the tasks of `add_periodic_task`, and those that the scheduler
        class, `beat_scheduler` or *scheduler*, keeps elsewhere. Raises `SchedulerError`,
        `StorageError`.
        """
        return self._periodic(scheduler).all(seconds)

    def _periodic(self, scheduler: str | None) -> Periodic:
        from fullresult.insight.periodic import (
            Periodic,
        )  # it imports beat, which few processes need

        recorder = self.parts.recorder
        return Periodic(
            self.parts.app, recorder.settings, self.parts.storage, recorder.redactor, scheduler
        )


def _schedules(
    query: TaskQuery | None,
    filters: Mapping[str, object],
    *,
    due_until: datetime | None,
    claimed: bool | None,
) -> ScheduleQuery:
    tasks = query_of(query, filters) if query or filters else None
    return ScheduleQuery(tasks=tasks, due_until=due_until, claimed=claimed)


def whole_query_of(query: TaskQuery | None, filters: Mapping[str, object]) -> TaskQuery:
    """The same for an action, which is of all pages. Raises `ValueError` if *query* is of one."""
    asked = query_of(query, filters)
    for name in ("limit", "after"):
        value = getattr(asked, name)
        if value not in (None, getattr(TaskQuery, name)):
            raise ValueError(
                f"TaskQuery({name}={value!r}) is a page of a listing, and this is done to all that "
                "match: leave it out, and give limit=… to the call to have less done"
            )
    return asked


def _length(value: timedelta | str | None, name: str) -> timedelta | None:
    return None if value is None else length_of(value, name)
