"""Merging: how the events of a task, in any order, make one record.

An event is a `TaskRecord` that knows only what just happened. Merging is commutative, associative
and idempotent: any order and any repetition of a task's events give the same record. Storages merge
in the database; they are tested against `merge`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar

from fullresult.record.own_message import OwnMessage, published_again
from fullresult.record.parts import Entry, Message, Outcome, Start, Stored
from fullresult.record.resent import latest
from fullresult.record.states import SUCCESS
from fullresult.record.task import TaskRecord

_First = TypeVar("_First", Message, Start)
_Last = TypeVar("_Last", Outcome, Stored, OwnMessage)


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
        entries=_union(_union(a.entries, b.entries), _lost(a.outcome, b.outcome)),
        resent=latest(a.resent, b.resent, outcome and outcome.stamp),
        published_again=published_again(a.message, b.message, a.published_again, b.published_again),
        own=_greatest(a.own, b.own),
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


def _lost(a: Outcome | None, b: Outcome | None) -> tuple[Entry, ...]:
    """The entry of a run that succeeded, and whose end another outcome replaces.

    A success leaves no entry by itself: most tasks have one run.
    """
    if a is None or b is None or a.stamp == b.stamp:
        return ()
    lost = min(a, b, key=lambda outcome: outcome.stamp)
    if lost.state != SUCCESS or (lost.date_started is None and lost.worker is None):
        return ()
    dates = lost.date_started, lost.date_done
    return (Entry(lost.stamp, lost.retries, SUCCESS, lost.worker, *dates, None, None, None),)


def _union(a: tuple[Entry, ...], b: tuple[Entry, ...]) -> tuple[Entry, ...]:
    if not a or not b:
        return a or b
    entries = {entry.stamp: entry for entry in (*a, *b)}
    return tuple(entries[stamp] for stamp in sorted(entries))
