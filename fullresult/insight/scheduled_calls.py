"""The calls of scheduled tasks, from their records, in which what is secret is hidden."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fullresult.insight.words import arguments, call
from fullresult.storage import TaskQuery

if TYPE_CHECKING:
    from fullresult.record import TaskRecord
    from fullresult.record.schedule import Schedule
    from fullresult.storage import Storage

_AT_ONCE = 100


def calls_of(storage: Storage, schedules: Sequence[Schedule]) -> dict[str, str]:
    """`name(1, key='value')` by task id; without those that are not recorded any more.

    Raises `StorageError`.
    """
    return {record.task_id: call(record) for record in _records(storage, schedules)}


def arguments_of(storage: Storage, schedules: Sequence[Schedule]) -> dict[str, str]:
    """The same without the names."""
    return {record.task_id: arguments(record) for record in _records(storage, schedules)}


def _records(storage: Storage, schedules: Sequence[Schedule]) -> Iterator[TaskRecord]:
    ids = list(dict.fromkeys(schedule.task_id for schedule in schedules))
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        yield from storage.find(TaskQuery(task_ids=some, limit=None))
