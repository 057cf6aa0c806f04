"""The storage of a sweeper whose tasks wait in another database than that of the records.

The tasks' first records committed there, with the caller's data. They are carried to where all
records are: soon, and before a schedule goes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, cast

from fullresult.record import Schedule, ScheduleQuery, TaskQuery, TaskRecord
from fullresult.record.merging import fold
from fullresult.record.pages import cursor
from fullresult.record.states import REVOKED, SCHEDULED, SCHEDULED_SENT
from fullresult.storage import OutboxStorage, StorageError, is_same

if TYPE_CHECKING:
    from fullresult.storage import (
        AsyncOutboxWriter,
        CommitListener,
        Identity,
        OutboxWriter,
        ScheduleStorage,
        Storage,
    )

_PORTION = 100
_CARRY_EVERY, _CARRY_WHILE_BUSY = 0.2, 1.0
"""Seconds between two looks for records of tasks that still wait: when nothing is due, and else."""
_REACH_EVERY = 1.0
"""Seconds for which the records' storage that has answered is taken to do so."""
_OURS = (SCHEDULED, SCHEDULED_SENT, REVOKED)
"""The states of a record that nothing but its schedule has told of."""


class Carrier:
    """Carries the records of tasks from the database of an outbox to the records' storage.

    Merging twice is merging once, so a process may die in between. Records of other tasks, which
    another app may keep there, are left alone.
    """

    def __init__(self, source: ScheduleStorage, target: Storage) -> None:
        self.source = source
        self.target = target
        self._is_apart = False

    def carry_waiting(self, namespace: str) -> None:
        """Carry the records of the tasks that wait. Raises `StorageError`."""
        query = _fresh(namespace)
        while found := self._carry_some(query):
            query = replace(query, after=found[-1].cursor)

    def carry_some_for_later(self, namespace: str) -> None:
        """Carry the records of the next hundred tasks that wait for their ETA.

        The record of what is due goes with its message. Raises `StorageError`.
        """
        self._carry_some(replace(_fresh(namespace), after=cursor(self.source.now(), "")))

    def _carry_some(self, query: ScheduleQuery) -> list[Schedule]:
        found = self.source.find_schedules(query)
        if found:
            self.carry({schedule.task_id for schedule in found})
        return found

    def carry(self, task_ids: Collection[str], events: Sequence[TaskRecord] = ()) -> None:
        """Carry the records of these tasks, and merge *events* into them. Raises `StorageError`."""
        self._check()
        asked = TaskQuery(task_ids=[*task_ids], state=_OURS, limit=None)
        records = self.source.find(asked) if task_ids else []
        merged = fold([*records, *events])
        if merged:
            self.target.write(merged)
        by_state = attrgetter("state")
        for state, some in groupby(sorted(records, key=by_state), by_state):
            ids = [record.task_id for record in some]
            # One that changed meanwhile stays, and is carried again.
            self.source.delete(TaskQuery(task_ids=ids, state=state, limit=None))

    def _check(self) -> None:
        """Raise `StorageError` if both are one database, whose records would be deleted."""
        if self._is_apart:
            return
        identities = [_identity(each) for each in (self.source, self.target)]
        if len({*map(len, identities)}) == 1 and is_same(*identities):
            raise StorageError(
                f"{self.source!r} is in fullresult_outboxes, and is the fullresult_storage itself, "
                "which has an outbox by fullresult_outbox = True: leave it out"
            )
        self._is_apart = True


def _fresh(namespace: str) -> ScheduleQuery:
    """The tasks whose records are still in the outbox's database."""
    return ScheduleQuery(namespace=namespace, tasks=TaskQuery(state=_OURS), limit=_PORTION)


def carrying_storage(source: ScheduleStorage, target: Storage, namespace: str) -> ScheduleStorage:
    """The storage of a sweeper of *source*, whose records are in *target*.

    Of `ScheduleStorage` it has what a sweeper asks for.
    """
    return cast("ScheduleStorage", CarryingStorage(source, target, namespace))


def _identity(storage: object) -> Identity:
    return storage.identity() if isinstance(storage, OutboxStorage) else ()


class CarryingStorage:
    """Schedules are in one database, records in another."""

    def __init__(self, source: ScheduleStorage, target: Storage, namespace: str) -> None:
        self._source = source
        self._carrier = Carrier(source, target)
        self._namespace = namespace
        self._carry_at = 0.0
        self._is_busy = False
        self._reached: float | None = None

    def __repr__(self) -> str:
        return repr(self._source)

    # Records

    def get(self, task_id: str) -> TaskRecord | None:
        return self._carrier.target.get(task_id)

    def mark_sent(
        self, claim: str, schedule_ids: Collection[str], events: Sequence[TaskRecord]
    ) -> Collection[str]:
        asked = ScheduleQuery(schedule_ids=schedule_ids, limit=None)
        mine = [each for each in self._source.find_schedules(asked) if each.claim == claim]
        reached, self._reached = self._reached, None
        # Before the schedule goes: who dies in between leaves a claim, of which the record tells.
        self._carrier.carry({each.task_id for each in mine}, events)
        self._reached = reached
        return self._source.mark_sent(claim, schedule_ids, [])

    # Schedules

    def now(self) -> datetime:
        return self._source.now()

    def claim_due(self, namespace: str, now: datetime, claim: str, limit: int) -> list[Schedule]:
        self._reach()
        if self._is_busy:
            self._is_busy = False  # should it fail, what is due is claimed before it is tried again
            self._carry(self._carrier.carry_some_for_later, _CARRY_WHILE_BUSY)
        found = self._source.claim_due(namespace, now, claim, limit)
        self._is_busy = bool(found)
        if not found:
            self._carry(self._carrier.carry_waiting, _CARRY_EVERY)
        return found

    def _carry(self, carry: Callable[[str], object], every: float) -> None:
        """Carry, if it is time: no more than a tenth of all time goes into it."""
        began = time.monotonic()
        if began < self._carry_at:
            return
        try:
            carry(self._namespace)
        finally:
            took = time.monotonic() - began
            self._carry_at = began + max(every, 10 * took)

    def _reach(self) -> None:
        """Raise `StorageError` if the records' storage is away: nothing could be marked sent.

        What is to be sent at least once would be sent again by each sweeper meanwhile.
        """
        now = time.monotonic()
        if self._reached is None or now - self._reached >= _REACH_EVERY:
            self._carrier.target.get("")
            self._reached = now

    def mark_problem(self, claim: str, schedule_id: str, problem: str) -> None:
        self._source.mark_problem(claim, schedule_id, problem)

    def release(self, schedule_ids: Collection[str], claim: str | None = None) -> Collection[str]:
        return self._source.release(schedule_ids, claim)

    def next_due(self, namespace: str) -> datetime | None:
        return self._source.next_due(namespace)

    def find_schedules(self, query: ScheduleQuery) -> list[Schedule]:
        return self._source.find_schedules(query)

    def note_sweep(self, namespace: str, at: datetime) -> None:
        self._source.note_sweep(namespace, at)

    def last_sweep(self, namespace: str) -> datetime | None:
        return self._source.last_sweep(namespace)

    # The outbox

    def identity(self) -> Identity:
        assert isinstance(self._source, OutboxStorage)
        return self._source.identity()

    def writer(self, connection: object) -> OutboxWriter | AsyncOutboxWriter | None:
        assert isinstance(self._source, OutboxStorage)
        return self._source.writer(connection)

    def listener(self, namespace: str) -> CommitListener | None:
        assert isinstance(self._source, OutboxStorage)
        return self._source.listener(namespace)
