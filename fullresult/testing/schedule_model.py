"""A model of schedules in Python, and random moves that Hypothesis makes on it and on a storage."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fullresult.record import RETRY, REVOKED, SCHEDULED, SCHEDULED_SENT, TaskRecord
from fullresult.record.merging import merge
from fullresult.record.schedule import Schedule, ScheduleQuery
from fullresult.storage import ScheduleStorage
from fullresult.testing import samples
from fullresult.testing.fixtures import known

_slots = st.integers(0, 5)
"""Places for schedules. A place is used again with new ids only."""
_slot_sets = st.sets(_slots, max_size=4)
_times = st.integers(0, 4).map(samples.after)
_claims = st.sampled_from(["x", "y", "z"])


class ScheduleMachine(RuleBasedStateMachine):
    """Random moves, each made on the storage and on the model, which then must agree.

    One example has a namespace and ids of its own: the storage may be shared.
    """

    def __init__(self, storage: ScheduleStorage) -> None:
        super().__init__()
        self.storage = storage
        self.namespace = str(uuid4())
        self.kept: dict[str, Schedule] = {}
        self.withdrawn: set[str] = set()
        self.records: dict[str, TaskRecord] = {}
        self.used = [0] * 6
        self.scheduled = self.sent = self.cancelled = self.lost = 0
        self.events = 0

    def id_in(self, slot: int) -> str:
        return f"{self.namespace} {slot} {self.used[slot]}"

    def ids_in(self, slots: set[int]) -> list[str]:
        return [self.id_in(slot) for slot in slots]

    def task_id(self, slot: int) -> str:
        """Several schedules belong to one task."""
        return f"{self.namespace} {slot % 2}"

    def event(self, slot: int, state: str) -> TaskRecord:
        self.events += 1
        return samples.became(self.task_id(slot), state, samples.after(self.events))

    def merged(self, event: TaskRecord) -> None:
        record = self.records.get(event.task_id)
        self.records[event.task_id] = merge(record, event) if record else event

    def waits(self, schedule_id: str) -> bool:
        return schedule_id in self.kept and not self.kept[schedule_id].claimed

    def gone(self, slot: int) -> None:
        self.kept.pop(self.id_in(slot), None)
        self.used[slot] += 1

    @rule(slot=_slots, due=_times)
    def schedule(self, slot: int, due: datetime) -> None:
        """A schedule that is new, kept already, or was withdrawn before."""
        schedule_id, event = self.id_in(slot), self.event(slot, SCHEDULED)
        schedule = samples.schedule(
            schedule_id, due, task_id=self.task_id(slot), namespace=self.namespace
        )
        self.storage.schedule(schedule, event)
        self.merged(event)
        if schedule_id in self.withdrawn:
            self.scheduled += 1
            self.lost += 1
            self.gone(slot)
        elif schedule_id not in self.kept:
            self.scheduled += 1
            self.kept[schedule_id] = schedule

    @rule(slot=_slots)
    def withdraw(self, slot: int) -> None:
        schedule_id = self.id_in(slot)
        if schedule_id in self.kept and self.kept[schedule_id].claimed:
            return
        self.storage.withdraw(schedule_id)
        if schedule_id in self.kept:
            self.lost += 1
            self.gone(slot)
        else:
            self.withdrawn.add(schedule_id)

    @rule(now=_times, claim=_claims, limit=st.integers(1, 4))
    def claim_due(self, now: datetime, claim: str, limit: int) -> None:
        claimed = self.storage.claim_due(self.namespace, now, claim, limit)
        due = sorted(
            schedule.due
            for schedule in self.kept.values()
            if schedule.due <= now and not schedule.claimed
        )
        assert [schedule.due for schedule in claimed] == due[:limit]
        for schedule in claimed:
            assert self.waits(schedule.schedule_id)
            expected = self.kept[schedule.schedule_id]._replace(claim=claim, date_claimed=now)
            assert schedule == expected
            self.kept[schedule.schedule_id] = schedule

    @rule(slots=_slot_sets, claim=_claims)
    def mark_sent(self, slots: set[int], claim: str) -> None:
        closed = [slot for slot in slots if self.has(claim, self.id_in(slot))]
        events = {self.task_id(slot): self.event(slot, SCHEDULED_SENT) for slot in closed}
        told = [events[task_id] for task_id in sorted(events)]
        answer = self.storage.mark_sent(claim, self.ids_in(slots), told)
        assert sorted(answer) == sorted(self.id_in(slot) for slot in closed)
        for event in told:
            self.merged(event)
        for slot in closed:
            self.sent += 1
            self.gone(slot)

    @rule(slot=_slots, claim=_claims)
    def mark_problem(self, slot: int, claim: str) -> None:
        schedule_id = self.id_in(slot)
        self.storage.mark_problem(claim, schedule_id, "lost")
        if self.has(claim, schedule_id):
            self.kept[schedule_id] = self.kept[schedule_id]._replace(problem="lost")

    @rule(slots=_slot_sets, claim=st.none() | _claims)
    def release(self, slots: set[int], claim: str | None) -> None:
        released = [
            schedule_id
            for schedule_id in self.ids_in(slots)
            if self.has(claim or self.claim_of(schedule_id), schedule_id)
        ]
        answer = self.storage.release(self.ids_in(slots), claim)
        assert sorted(answer) == sorted(released)
        for schedule_id in released:
            self.kept[schedule_id] = self.kept[schedule_id]._replace(
                claim=None, date_claimed=None, problem=None
            )

    @rule(slot=_slots, claim=_claims, now=_times, instead_of=st.none() | _claims)
    def take_over(self, slot: int, claim: str, now: datetime, instead_of: str | None) -> None:
        schedule_id = self.id_in(slot)
        answer = self.storage.take_over(schedule_id, claim, now, instead_of=instead_of)
        if schedule_id in self.kept and self.kept[schedule_id].claim == instead_of:
            self.kept[schedule_id] = self.kept[schedule_id]._replace(
                claim=claim, date_claimed=now, problem=None
            )
            assert answer == self.kept[schedule_id]
        else:
            assert answer is None

    @rule(slot=_slots)
    def cancel(self, slot: int) -> None:
        schedule_id, event = self.id_in(slot), self.event(slot, REVOKED)
        answer = self.storage.cancel(schedule_id, event)
        assert answer is self.waits(schedule_id)
        if answer:
            self.merged(event)
            self.cancelled += 1
            self.gone(slot)

    @rule(slot=_slots, due=_times)
    def reschedule(self, slot: int, due: datetime) -> None:
        schedule_id, event = self.id_in(slot), self.event(slot, RETRY)
        answer = self.storage.reschedule(schedule_id, due, event)
        assert answer is self.waits(schedule_id)
        if answer:
            self.merged(event)
            self.kept[schedule_id] = self.kept[schedule_id]._replace(due=due)

    @invariant()
    def is_as_in_the_model(self) -> None:
        query = ScheduleQuery(namespace=self.namespace, limit=None)
        expected = sorted(self.kept.values(), key=lambda each: (each.due, each.schedule_id))
        assert self.storage.find_schedules(query) == expected
        waiting = [schedule.due for schedule in expected if not schedule.claimed]
        assert self.storage.next_due(self.namespace) == (waiting[0] if waiting else None)

    @invariant()
    def keeps_count(self) -> None:
        kept = self.storage.count_schedules(ScheduleQuery(namespace=self.namespace, limit=0))
        assert kept + self.sent + self.cancelled + self.lost == self.scheduled

    def teardown(self) -> None:
        for task_id, record in self.records.items():
            assert known(self.storage, task_id) == record

    def claim_of(self, schedule_id: str) -> str | None:
        return self.kept[schedule_id].claim if schedule_id in self.kept else None

    def has(self, claim: str | None, schedule_id: str) -> bool:
        """True if the schedule is kept and *claim* has it."""
        return claim is not None and self.claim_of(schedule_id) == claim
