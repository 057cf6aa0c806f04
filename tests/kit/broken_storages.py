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
from fullresult.record import Stored, TaskRecord
from fullresult.record.audit import AuditEntry, AuditQuery
from fullresult.record.sample import Sample
from fullresult.record.schedule import Schedule, ScheduleQuery
from fullresult.record.worker import Worker
from fullresult.storage import (
    AuditStorage,
    JoiningStorage,
    ResultStorage,
    StatisticsStorage,
    Storage,
    TaskQuery,
    WorkerStorage,
)
from fullresult.testing import StorageSuite, open_storage


class Sound:
    """Passes every call on."""

    def __init__(self, url: str) -> None:
        self._storage = open_storage(url)

    def setup(self) -> None:
        self._storage.setup()

    def close(self) -> None:
        self._storage.close()

    def now(self) -> datetime:
        return self._storage.now()

    def write(self, events: Sequence[TaskRecord]) -> Collection[str]:
        return self._storage.write(events)

    def get(self, task_id: str) -> TaskRecord | None:
        return self._storage.get(task_id)

    def find(self, query: TaskQuery) -> list[TaskRecord]:
        return self._storage.find(query)

    def count(self, query: TaskQuery) -> int:
        return self._storage.count(query)

    def delete(self, query: TaskQuery) -> int:
        return self._storage.delete(query)

    def delete_expired(self, now: datetime, limit: int) -> int:
        return self._storage.delete_expired(now, limit)

    def schedule(self, schedule: Schedule, event: TaskRecord) -> None:
        self._storage.schedule(schedule, event)

    def withdraw(self, schedule_id: str) -> None:
        self._storage.withdraw(schedule_id)

    def claim_due(self, namespace: str, now: datetime, claim: str, limit: int) -> list[Schedule]:
        return self._storage.claim_due(namespace, now, claim, limit)

    def mark_sent(
        self, claim: str, schedule_ids: Collection[str], events: Sequence[TaskRecord]
    ) -> Collection[str]:
        return self._storage.mark_sent(claim, schedule_ids, events)

    def mark_problem(self, claim: str, schedule_id: str, problem: str) -> None:
        self._storage.mark_problem(claim, schedule_id, problem)

    def release(self, schedule_ids: Collection[str], claim: str | None = None) -> Collection[str]:
        return self._storage.release(schedule_ids, claim)

    def take_over(
        self, schedule_id: str, claim: str, now: datetime, *, instead_of: str | None
    ) -> Schedule | None:
        return self._storage.take_over(schedule_id, claim, now, instead_of=instead_of)

    def cancel(self, schedule_id: str, event: TaskRecord) -> bool:
        return self._storage.cancel(schedule_id, event)

    def reschedule(self, schedule_id: str, due: datetime, event: TaskRecord) -> bool:
        return self._storage.reschedule(schedule_id, due, event)

    def next_due(self, namespace: str) -> datetime | None:
        return self._storage.next_due(namespace)

    def find_schedules(self, query: ScheduleQuery) -> list[Schedule]:
        return self._storage.find_schedules(query)

    def count_schedules(self, query: ScheduleQuery) -> int:
        return self._storage.count_schedules(query)

    def note_sweep(self, namespace: str, at: datetime) -> None:
        self._storage.note_sweep(namespace, at)

    def last_sweep(self, namespace: str) -> datetime | None:
        return self._storage.last_sweep(namespace)

    @property
    def _results(self) -> ResultStorage:
        assert isinstance(self._storage, ResultStorage)
        return self._storage

    def get_results(self, task_ids: Collection[str]) -> list[TaskRecord]:
        return self._results.get_results(task_ids)

    def get_ended(self, task_ids: Collection[str], *, messages: bool = True) -> list[TaskRecord]:
        return self._results.get_ended(task_ids, messages=messages)

    def forget(self, task_id: str) -> None:
        self._results.forget(task_id)

    def save_group(self, group_id: str, value: bytes, expire_at: datetime | None) -> None:
        self._results.save_group(group_id, value, expire_at)

    def restore_group(self, group_id: str) -> bytes | None:
        return self._results.restore_group(group_id)

    def delete_group(self, group_id: str) -> None:
        self._results.delete_group(group_id)

    def join_chord(
        self,
        chord_id: str,
        member: str,
        size: int,
        expire_at: datetime | None,
        *,
        call: str | None = None,
    ) -> bool:
        return self._results.join_chord(chord_id, member, size, expire_at, call=call)

    def forget_chord(self, chord_id: str) -> None:
        self._results.forget_chord(chord_id)

    @property
    def _alive(self) -> WorkerStorage:
        assert isinstance(self._storage, WorkerStorage)
        return self._storage

    def note_worker(self, worker: Worker) -> None:
        self._alive.note_worker(worker)

    def find_workers(self) -> list[Worker]:
        return self._alive.find_workers()

    def forget_workers(self, seen_until: datetime) -> None:
        self._alive.forget_workers(seen_until)

    def write_and_join(
        self,
        event: TaskRecord,
        chord_id: str,
        size: int,
        expire_at: datetime | None,
        *,
        call: str | None = None,
    ) -> tuple[Collection[str], bool]:
        return self._joining.write_and_join(event, chord_id, size, expire_at, call=call)

    def get_successes(self, task_ids: Collection[str]) -> dict[str, Stored | str]:
        return self._joining.get_successes(task_ids)

    @property
    def _joining(self) -> JoiningStorage:
        assert isinstance(self._storage, JoiningStorage)
        return self._storage

    @property
    def _counting(self) -> StatisticsStorage:
        assert isinstance(self._storage, StatisticsStorage)
        return self._storage

    def sample(self, edges: Sequence[datetime], most: int) -> list[list[Sample]]:
        return self._counting.sample(edges, most)

    def count_capped(self, query: TaskQuery | ScheduleQuery, most: int) -> int:
        return self._counting.count_capped(query, most)

    @property
    def _log(self) -> AuditStorage:
        assert isinstance(self._storage, AuditStorage)
        return self._storage

    def keep_audit(self, entry: AuditEntry) -> None:
        self._log.keep_audit(entry)

    def find_audit(self, query: AuditQuery) -> list[AuditEntry]:
        return self._log.find_audit(query)


class LastArrivalWins(Sound):
    """Takes the outcome that came last for the true one, whatever its stamp."""

    def write(self, events: Sequence[TaskRecord]) -> Collection[str]:
        return super().write([self._winning(event) for event in events])

    def _winning(self, event: TaskRecord) -> TaskRecord:
        known = self.get(event.task_id)
        if event.outcome is None or known is None or known.outcome is None:
            return event
        self.delete(TaskQuery(text=event.task_id))
        return replace(known, outcome=event.outcome, entries=(*known.entries, *event.entries))


class ReadsThenWrites(Sound):
    """Merges in Python between a read and a write, forgets entries, and knows no worker."""

    def write(self, events: Sequence[TaskRecord]) -> Collection[str]:
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
    ) -> Collection[str]:
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
        size: int,
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
        size: int,
        expire_at: datetime | None,
        *,
        call: str | None = None,
    ) -> tuple[Collection[str], bool]:
        complete = super().join_chord(chord_id, event.task_id, size, expire_at, call=call)
        return self.write([event]), complete

    def write(self, events: Sequence[TaskRecord]) -> Collection[str]:
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
    @staticmethod
    def open_storage(url: str) -> Storage:
        return Sound(url)


class TestLastArrivalWins(Suite):
    @staticmethod
    def open_storage(url: str) -> Storage:
        return LastArrivalWins(url)


class TestReadsThenWrites(Suite):
    @staticmethod
    def open_storage(url: str) -> Storage:
        return ReadsThenWrites(url)


class TestMarksByTask(Suite):
    @staticmethod
    def open_storage(url: str) -> Storage:
        return MarksByTask(url)


class TestClaimsTwice(Suite):
    @staticmethod
    def open_storage(url: str) -> Storage:
        return ClaimsTwice(url)


class TestChangesHalf(Suite):
    @staticmethod
    def open_storage(url: str) -> Storage:
        return ChangesHalf(url)


class TestCountsTwice(Suite):
    @staticmethod
    def open_storage(url: str) -> Storage:
        return CountsTwice(url)


class TestOldestFirst(Suite):
    @staticmethod
    def open_storage(url: str) -> Storage:
        return OldestFirst(url)


class TestLastHeartbeatWins(Suite):
    @staticmethod
    def open_storage(url: str) -> Storage:
        return LastHeartbeatWins(url)
