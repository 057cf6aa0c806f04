"""Stamps and merging: how what happened to a task, told in any order, makes one record.

An event is a `TaskRecord` that knows only what just happened. Merging is commutative, associative
and idempotent, so that any order and any repetition of a task's events give the same record. The
storages do the same in the database; `merge` is the rule they are tested against.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import NamedTuple, TypeVar

from fullresult.record.task import (
    FAILURE,
    FINISHED,
    IGNORED,
    PENDING,
    REJECTED,
    RETRY,
    REVOKED,
    SCHEDULED,
    SCHEDULED_SENT,
    STARTED,
    SUCCESS,
    UNSENT,
    Entry,
    Message,
    Outcome,
    Start,
    Stored,
    TaskRecord,
)

RANK = {
    SCHEDULED: "00",
    SCHEDULED_SENT: "10",
    PENDING: "20",
    UNSENT: "30",
    STARTED: "40",
    RETRY: "50",
    REVOKED: "60",
    REJECTED: "60",
    IGNORED: "60",
    FAILURE: "68",
    SUCCESS: "6A",
}
REDELIVERED_SUCCESS = "69"
"""That of a second delivery, which leaves an entry. The first one's leaves none: the row is its."""
CUSTOM_STATE = "41"
"""States of the user's own making rank just above STARTED."""

_BY = "@"
"""In a stamp after all that its order depends on: the id of the worker that runs the task."""
_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LATEST = datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=timezone.utc)
_First = TypeVar("_First", Message, Start)
_Last = TypeVar("_Last", Outcome, Stored)


class Moment(NamedTuple):
    """An instant, told apart from every other in any process."""

    at: datetime
    """UTC, to the millisecond."""
    tail: str
    """What makes a stamp unique: microseconds since 1970, a counter, the process."""

    def of_worker(self, worker_id: str) -> Moment:
        """The same, whose stamps name the worker that runs the task; "" is none."""
        return Moment(self.at, f"{self.tail}{_BY}{worker_id}") if worker_id else self


class Clock:
    """Moments of this process, no two the same. It needs no lock, so no fork can hurt it."""

    def __init__(self) -> None:
        self._counter = itertools.count()
        self._pid = 0
        self._tag = ""

    def moment(self) -> Moment:
        if self._pid != os.getpid():
            self._tag, self._pid = os.urandom(4).hex(), os.getpid()
        now = time.time_ns() // 1000
        # The counter orders what one microsecond holds.
        tail = f"{now:014x}{next(self._counter) & 0xFFFF:04x}{self._tag}"
        return Moment(from_milliseconds(now // 1000), tail)


def from_milliseconds(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def to_milliseconds(when: datetime) -> int:
    """Since 1970, cut to whole ones."""
    return (when - _EPOCH) // _MILLISECOND


def cut(when: datetime) -> datetime:
    """*when* without what is less than a millisecond: records, and their storages' time, are so."""
    return when.replace(microsecond=when.microsecond // 1000 * 1000)


def to_utc(when: datetime) -> datetime:
    """*when* in UTC, rounded up to the millisecond; what lies beyond year 9999 becomes its end."""
    try:
        utc = when.astimezone(timezone.utc)
        missing = -utc.microsecond % 1000
        return utc + timedelta(microseconds=missing)
    except (OverflowError, ValueError, OSError):
        return _LATEST if when.year == _LATEST.year else _EPOCH


class Attempt(NamedTuple):
    """Which attempt at a task an event belongs to."""

    nesting: int = 0
    """Celery's `replaced_task_nesting`."""
    retries: int = 0

    def stamp(self, state: str, moment: Moment, *, redelivered: bool = False) -> str:
        """Fixed-width text whose order is: attempt, state, time, process."""
        rank = RANK.get(state, CUSTOM_STATE)
        if redelivered and state == SUCCESS:
            rank = REDELIVERED_SUCCESS
        if self is FIRST:
            return f"000000000{rank}{moment.tail}"
        return f"{self.nesting:03d}{self.retries:06d}{rank}{moment.tail}"

    @classmethod
    def of(cls, nesting: object, retries: object) -> Attempt:
        """An attempt of what a message claims: numbers of any kind, or anything else (0)."""
        if nesting == 0 == retries or (nesting is None and retries is None):
            return FIRST
        return cls(_bounded(nesting, 999), _bounded(retries, 999_999))

    @classmethod
    def in_stamp(cls, stamp: str) -> Attempt:
        """The attempt that *stamp* names."""
        return cls(int(stamp[:3]), int(stamp[3:9]))


FIRST = Attempt()


def worker_in(stamp: str) -> str:
    """The id of the worker that *stamp* names; "" for none."""
    return stamp.partition(_BY)[2]


def _bounded(value: object, most: int) -> int:
    return min(max(value, 0), most) if isinstance(value, int) else 0


def is_open(state: str) -> bool:
    """Whether something is still expected to happen to a task in *state*."""
    return state not in FINISHED and state != SCHEDULED


def merge(a: TaskRecord, b: TaskRecord) -> TaskRecord:
    """What *a* and *b*, of one task, know together."""
    return TaskRecord(
        task_id=a.task_id,
        date_created=min(a.date_created, b.date_created),
        date_updated=max(a.date_updated, b.date_updated),
        date_published=_earliest(a.date_published, b.date_published),
        outcome=_greatest(a.outcome, b.outcome),
        message=_least(a.message, b.message),
        start=_least(a.start, b.start),
        stored=_greatest(a.stored, b.stored),
        entries=_union(a.entries, b.entries),
    )


def fold(events: Iterable[TaskRecord]) -> list[TaskRecord]:
    """One event per task, in the order of their ids: what `Storage.write` takes."""
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
