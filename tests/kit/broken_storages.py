"""Storages with one fault each, over a sound one, and suites that run on them.

Not collected with the other tests: `test_broken_storages.py` runs this file, and expects failures.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from operator import attrgetter
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import Phase, settings

# Before the suite makes its own settings of these: one failure is enough, and need not be small.
settings.register_profile("broken", phases=[Phase.generate], database=None)
settings.load_profile("broken")

# ruff: noqa: E402
from fullresult.record import TaskRecord
from fullresult.record.audit import AuditEntry, AuditQuery
from fullresult.record.sample import Sample
from fullresult.record.schedule import Schedule, ScheduleQuery
from fullresult.record.worker import Worker
from fullresult.storage import Alike, TaskQuery
from fullresult.testing import StorageSuite, open_storage
from fullresult_storage_sql.storage import SqlStorage


class Sound(SqlStorage):
    """The SQLite storage as it is."""

    def __init__(self, url: str) -> None:
        opened = open_storage(url)
        assert isinstance(opened, SqlStorage)
        super().__init__(opened._database, auto_setup=False)


class LastArrivalWins(Sound):
    """Takes the outcome that came last for the true one, whatever its stamp."""

    def write(self, events: Sequence[TaskRecord]) -> list[str]:
        return super().write([self._winning(event) for event in events])

    def _winning(self, event: TaskRecord) -> TaskRecord:
        known = self.get(event.task_id)
        if event.outcome is None or known is None or known.outcome is None:
            return event
        self.delete(TaskQuery(text=event.task_id))
        return replace(known, outcome=event.outcome, entries=(*known.entries, *event.entries))


class ReadsThenWrites(Sound):
    """Merges in Python between a read and a write, forgets entries, and knows no worker."""

    def write(self, events: Sequence[TaskRecord]) -> list[str]:
        lacking: list[str] = []
        for event in events:
            known = self.get(event.task_id)
            entries = event.entries if known is None else ()
            lacking += super().write([replace(event, entries=entries)])
        return lacking

    def find(self, query: TaskQuery) -> list[TaskRecord]:
        return super().find(replace(query, worker=None))


class MarksByTask(Sound):
    """Closes all schedules of the tasks that were sent, whoever has them."""

    def mark_sent(
        self, claim: str, schedule_ids: Collection[str], events: Sequence[TaskRecord]
    ) -> list[str]:
        sent = self.find_schedules(ScheduleQuery(schedule_ids=schedule_ids, limit=None))
        tasks = {schedule.task_id for schedule in sent}
        found = self.find_schedules(ScheduleQuery(task_ids=tasks, limit=None))
        for each in found:
            self.take_over(each.schedule_id, claim, self.now(), instead_of=each.claim)
        return super().mark_sent(claim, [each.schedule_id for each in found], events)


class ClaimsTwice(Sound):
    """Looks for what is due, and then takes it, whoever has it by then."""

    def claim_due(self, namespace: str, now: datetime, claim: str, limit: int) -> list[Schedule]:
        query = ScheduleQuery(namespace=namespace, due_until=now, claimed=False, limit=limit)
        taken = [self._take(each, claim, now) for each in self.find_schedules(query)]
        return [schedule for schedule in taken if schedule]

    def _take(self, schedule: Schedule, claim: str, now: datetime) -> Schedule | None:
        query = ScheduleQuery(schedule_ids=[schedule.schedule_id])
        for each in self.find_schedules(query):
            self.take_over(each.schedule_id, claim, now, instead_of=each.claim)
            return schedule._replace(claim=claim, date_claimed=now)
        return None


class ChangesHalf(Sound):
    """Merges an event and changes the schedule one by one; withdraws nothing that is to come."""

    def schedule(self, schedule: Schedule, event: TaskRecord) -> None:
        super().schedule(schedule, replace(event, outcome=None))
        time.sleep(0.01)  # for who looks in between to be there
        self.write([event])

    def cancel(self, schedule_id: str, event: TaskRecord) -> bool:
        self.write([event])
        return super().cancel(schedule_id, event)

    def withdraw(self, schedule_id: str) -> None:
        if self.count_schedules(ScheduleQuery(schedule_ids=[schedule_id])):
            super().withdraw(schedule_id)


class CountsTwice(Sound):
    """Counts a member of a chord as often as it is told, and before its end is there.

    It keeps a date of expiry for good.
    """

    def join_chord(
        self,
        chord_id: str,
        member: str,
        size: int | None,
        expire_at: datetime | None,
        *,
        call: str | None = None,
    ) -> bool:
        told = f"{member} {uuid4()}"
        return super().join_chord(chord_id, told, size, expire_at, call=call)

    def write_and_join(
        self,
        event: TaskRecord,
        chord_id: str,
        member: str,
        size: int | None,
        expire_at: datetime | None,
        *,
        call: str | None = None,
    ) -> tuple[list[str], bool]:
        complete = super().join_chord(chord_id, member, size, expire_at, call=call)
        return self.write([event]), complete

    def write(self, events: Sequence[TaskRecord]) -> list[str]:
        return super().write([self._expiring(event) for event in events])

    def _expiring(self, event: TaskRecord) -> TaskRecord:
        known = self.get(event.task_id)
        if event.outcome is None or known is None or known.outcome is None:
            return event
        expire_at = event.outcome.expire_at or known.outcome.expire_at
        return replace(event, outcome=event.outcome._replace(expire_at=expire_at))


class OldestFirst(Sound):
    """Samples the oldest records, counts further than it is to, and rewrites its audit log."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._entries: dict[str, AuditEntry] = {}

    def sample(self, edges: Sequence[datetime], most: int) -> list[list[Sample]]:
        return [found[::-1][:most] for found in super().sample(edges, 10_000)]

    def count_alike(self, since: datetime, until: datetime, most: int) -> list[Alike]:
        return super().count_alike(since, until, most * 2)

    def count_capped(self, query: TaskQuery | ScheduleQuery, most: int) -> int:
        return super().count_capped(query, most * 2)

    def keep_audit(self, entry: AuditEntry) -> None:
        self._entries[entry.entry_id] = entry

    def find_audit(self, query: AuditQuery) -> list[AuditEntry]:
        found = sorted(self._entries.values(), key=attrgetter("at"), reverse=True)
        if query.position is not None:
            found = [entry for entry in found if entry.at < query.position[0]]
        if query.task_id is not None:
            found = [entry for entry in found if query.task_id in entry.task_ids[:100]]
        return found[: query.limit]


class LastHeartbeatWins(Sound):
    """Takes what a worker told last for the truth; forgets one by when it began."""

    def note_worker(self, worker: Worker) -> None:
        others = [each for each in self.find_workers() if each.worker_id != worker.worker_id]
        super().forget_workers(datetime(9999, 12, 31, tzinfo=timezone.utc))
        for each in (*others, worker):
            super().note_worker(each)

    def forget_workers(self, seen_until: datetime) -> None:
        kept = [each for each in self.find_workers() if each.date_started >= seen_until]
        super().forget_workers(datetime(9999, 12, 31, tzinfo=timezone.utc))
        for each in kept:
            super().note_worker(each)


class Suite(StorageSuite):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/tasks.db"


class TestSound(Suite):
    open_storage = Sound


class TestLastArrivalWins(Suite):
    open_storage = LastArrivalWins


class TestReadsThenWrites(Suite):
    open_storage = ReadsThenWrites


class TestMarksByTask(Suite):
    open_storage = MarksByTask


class TestClaimsTwice(Suite):
    open_storage = ClaimsTwice


class TestChangesHalf(Suite):
    open_storage = ChangesHalf


class TestCountsTwice(Suite):
    open_storage = CountsTwice


class TestOldestFirst(Suite):
    open_storage = OldestFirst


class TestLastHeartbeatWins(Suite):
    open_storage = LastHeartbeatWins
