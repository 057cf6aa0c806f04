"""The storage and the outboxes in other databases as one: all that waits is seen, and acted on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from operator import attrgetter
from typing import Any, cast

from fullresult.record import Schedule, ScheduleQuery, TaskQuery, TaskRecord
from fullresult.scheduling.carrying_storage import Carrier
from fullresult.storage import ScheduleStorage, StatisticsStorage, Storage

_PAGE = 100
_ORDER = attrgetter("due", "schedule_id")
_EVERYTHING = replace(TaskQuery(), limit=None, after=None)


def joined(storage: Storage, outboxes: Mapping[str, ScheduleStorage]) -> Storage:
    """*storage*, which also knows the schedules in *outboxes*; itself if there are none."""
    if not outboxes:
        return storage
    kind = type(storage)
    # What a storage can do is asked of its class: so this has a class of its own for each.
    passed_on = {
        name: _passing_on(name)
        for name in dir(kind)
        if not name.startswith("_") and not hasattr(JoinedStorage, name)
    }
    if isinstance(storage, StatisticsStorage):
        passed_on["count_capped"] = _count_capped
    made = type(f"{kind.__name__}AndOutboxes", (JoinedStorage,), passed_on)
    return cast("Storage", made(storage, outboxes))


def _passing_on(name: str) -> Any:
    def get(self: JoinedStorage) -> Any:
        return getattr(self.storage, name)

    return property(get)


def _count_capped(self: JoinedStorage, query: TaskQuery | ScheduleQuery, most: int) -> int:
    """`StatisticsStorage.count_capped`."""
    storage = self.storage
    assert isinstance(storage, StatisticsStorage)
    count = storage.count_capped(query, most)
    if isinstance(query, ScheduleQuery) and count < most:
        count += sum(self.count_in(each, query, most - count) for each in self.outboxes)
    return min(count, most)


class JoinedStorage:
    """`ScheduleStorage` over several databases: an id is looked for in each.

    Each method raises `StorageError` if one of the databases does not answer: what it might know
    is not left out in silence.
    """

    def __init__(self, storage: Storage, outboxes: Mapping[str, ScheduleStorage]) -> None:
        self.storage = storage
        self._carriers = [Carrier(outbox, storage) for outbox in outboxes.values()]

    def __repr__(self) -> str:
        return repr(self.storage)

    @property
    def outboxes(self) -> list[ScheduleStorage]:
        """The other databases."""
        return [carrier.source for carrier in self._carriers]

    @property
    def _all(self) -> list[ScheduleStorage]:
        own = [self.storage] if isinstance(self.storage, ScheduleStorage) else []
        return [*own, *self.outboxes]

    @property
    def _own(self) -> ScheduleStorage:
        assert isinstance(self.storage, ScheduleStorage)
        return self.storage

    # Records

    def close(self) -> None:
        self.storage.close()
        for outbox in self.outboxes:
            outbox.close()

    def get(self, task_id: str) -> TaskRecord | None:
        """A record that was not carried yet is where its task waits."""
        places: Iterator[Storage] = iter([self.storage, *self.outboxes])
        return next((found for each in places if (found := each.get(task_id))), None)

    # Schedules

    def find_schedules(self, query: ScheduleQuery) -> list[Schedule]:
        found: list[Schedule] = []
        if isinstance(self.storage, ScheduleStorage):
            found += self.storage.find_schedules(query)
        for outbox in self.outboxes:
            found += self.find_in(outbox, query, query.limit)
        found.sort(key=_ORDER)
        return found if query.limit is None else found[: query.limit]

    def count_schedules(self, query: ScheduleQuery) -> int:
        own = self.storage
        count = own.count_schedules(query) if isinstance(own, ScheduleStorage) else 0
        return count + sum(self.count_in(each, query, None) for each in self.outboxes)

    def count_in(self, outbox: ScheduleStorage, query: ScheduleQuery, most: int | None) -> int:
        """The number of schedules of *outbox* that match, or *most* if there are more."""
        whole = replace(query, after=None)
        if _is_of_all(query.tasks):
            count = outbox.count_schedules(replace(whole, tasks=None))
            return count if most is None else min(count, most)
        return len(self.find_in(outbox, whole, most))

    def find_in(
        self, outbox: ScheduleStorage, query: ScheduleQuery, limit: int | None
    ) -> list[Schedule]:
        """The schedules of *outbox* that match. Records are elsewhere."""
        asked, tasks = replace(query, tasks=None, limit=limit), query.tasks
        if tasks is None or _is_of_all(tasks):
            return outbox.find_schedules(asked)
        found: list[Schedule] = []
        for page in _pages(outbox, replace(asked, limit=_PAGE)):
            known = self._matching({each.task_id for each in page}, tasks, outbox)
            found += [each for each in page if each.task_id in known]
            if limit is not None and len(found) >= limit:
                return found[:limit]
        return found

    def _matching(self, ids: set[str], tasks: TaskQuery, outbox: ScheduleStorage) -> set[str]:
        wanted = ids if tasks.task_ids is None else ids & {*tasks.task_ids}
        if not wanted:
            return set()
        asked = replace(tasks, task_ids=[*wanted], limit=None, after=None)
        found = [*self.storage.find(asked), *outbox.find(asked)]
        return {record.task_id for record in found}

    def next_due(self, namespace: str) -> datetime | None:
        dues = [due for each in self._all if (due := each.next_due(namespace))]
        return min(dues, default=None)

    def last_sweep(self, namespace: str) -> datetime | None:
        sweeps = [at for each in self._all if (at := each.last_sweep(namespace))]
        return max(sweeps, default=None)

    def note_sweep(self, namespace: str, at: datetime) -> None:
        self._own.note_sweep(namespace, at)

    def schedule(self, schedule: Schedule, event: TaskRecord) -> None:
        self._own.schedule(schedule, event)

    def withdraw(self, schedule_id: str) -> None:
        self._own.withdraw(schedule_id)

    def claim_due(self, namespace: str, now: datetime, claim: str, limit: int) -> list[Schedule]:
        """Of the storage alone: each outbox has a sweeper of its own."""
        return self._own.claim_due(namespace, now, claim, limit)

    def mark_sent(
        self, claim: str, schedule_ids: Collection[str], events: Sequence[TaskRecord]
    ) -> Collection[str]:
        closed: list[str] = []
        for carrier in self._carriers:
            if mine := self._of(carrier.source, schedule_ids, claim):
                carrier.carry({each.task_id for each in mine}, events)
                closed += carrier.source.mark_sent(claim, [each.schedule_id for each in mine], [])
        left = [each for each in schedule_ids if each not in closed]
        if left or not closed:
            closed += self._own.mark_sent(claim, left, events)
        return closed

    @staticmethod
    def _of(outbox: ScheduleStorage, ids: Collection[str], claim: str) -> list[Schedule]:
        found = outbox.find_schedules(ScheduleQuery(schedule_ids=ids, limit=None))
        return [each for each in found if each.claim == claim]

    def mark_problem(self, claim: str, schedule_id: str, problem: str) -> None:
        for each in self._all:
            each.mark_problem(claim, schedule_id, problem)

    def release(self, schedule_ids: Collection[str], claim: str | None = None) -> Collection[str]:
        return [found for each in self._all for found in each.release(schedule_ids, claim)]

    def take_over(
        self, schedule_id: str, claim: str, now: datetime, *, instead_of: str | None
    ) -> Schedule | None:
        for each in self._all:
            taken = each.take_over(schedule_id, claim, now, instead_of=instead_of)
            if taken is not None:
                return taken
        return None

    def cancel(self, schedule_id: str, event: TaskRecord) -> bool:
        return self._change(event, lambda each: each.cancel(schedule_id, event))

    def reschedule(
        self,
        schedule_id: str,
        due: datetime,
        event: TaskRecord,
        *,
        instead_of: datetime | None = None,
    ) -> bool:
        # Where none is given, an adapter that was written for an older version need not know it.
        how = {} if instead_of is None else {"instead_of": instead_of}
        return self._change(event, lambda each: each.reschedule(schedule_id, due, event, **how))

    def _change(self, event: TaskRecord, change: Callable[[ScheduleStorage], bool]) -> bool:
        if isinstance(self.storage, ScheduleStorage) and change(self.storage):
            return True
        for carrier in self._carriers:
            carrier.target.get("")  # if that is away, its record would never tell of the change
            if change(carrier.source):
                carrier.carry([event.task_id], [event])
                return True
        return False


def _is_of_all(tasks: TaskQuery | None) -> bool:
    return tasks is None or replace(tasks, limit=None, after=None, order="newest") == _EVERYTHING


def _pages(outbox: ScheduleStorage, query: ScheduleQuery) -> Iterator[list[Schedule]]:
    while page := outbox.find_schedules(query):
        yield page
        query = replace(query, after=page[-1].cursor)
