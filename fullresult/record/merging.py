"""Merging: how the events of a task, in any order, make one record.

An event is a `TaskRecord` that knows only what just happened. Merging is commutative, associative
and idempotent: any order and any repetition of a task's events give the same record. Storages merge
in the database; they are tested against `merge`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar

from fullresult.record.parts import Entry, Message, Outcome, Start, Stored
from fullresult.record.resent import latest
from fullresult.record.task import TaskRecord

_First = TypeVar("_First", Message, Start)
_Last = TypeVar("_Last", Outcome, Stored)


def merge(a: TaskRecord, b: TaskRecord) -> TaskRecord:
    """One record of *a* and *b*, which are of one task."""
    outcome = _greatest(a.outcome, b.outcome)
    return TaskRecord(
        task_id=a.task_id,
        date_created=min(a.date_created, b.date_created),
        date_updated=max(a.date_updated, b.date_updated),
        date_published=_earliest(a.date_published, b.date_published),
        outcome=outcome,
        message=_least(a.message, b.message),
        start=_least(a.start, b.start),
        stored=_greatest(a.stored, b.stored),
        entries=_union(a.entries, b.entries),
        resent=latest(a.resent, b.resent, outcome and outcome.stamp),
    )


def fold(events: Iterable[TaskRecord]) -> list[TaskRecord]:
    """*events* merged to one per task, in the order of task ids, as `Storage.write` takes them."""
    folded: dict[str, TaskRecord] = {}
    for event in events:
        known = folded.get(event.task_id)
        folded[event.task_id] = event if known is None else merge(known, event)
    return [folded[task_id] for task_id in sorted(folded)]


def _earliest(a: datetime | None, b: datetime | None) -> datetime | None:
    return min(a, b) if a and b else a or b


def _greatest(a: _Last | None, b: _Last | None) -> _Last | None:
    return max(a, b, key=lambda part: part.stamp) if a and b else a or b


def _least(a: _First | None, b: _First | None) -> _First | None:
    return min(a, b, key=lambda part: part.stamp) if a and b else a or b


def _union(a: tuple[Entry, ...], b: tuple[Entry, ...]) -> tuple[Entry, ...]:
    if not a or not b:
        return a or b
    entries = {entry.stamp: entry for entry in (*a, *b)}
    return tuple(entries[stamp] for stamp in sorted(entries))
