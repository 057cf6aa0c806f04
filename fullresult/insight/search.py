"""Searches that no index answers: one stretch of time after the other, while there is time."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from fullresult.record import TaskRecord
from fullresult.record.dates import cut
from fullresult.storage import IndexedStorage, StatisticsStorage, Storage, TaskQuery

_UNINDEXED = ("text", "args", "kwargs", "queue", "worker")
_FIRST = timedelta(hours=1)
_MILLISECOND = timedelta(milliseconds=1)
_AT_FIRST, _AT_LEAST, _AT_MOST = 1_000, 200, 100_000
"""Records that are looked through at a time."""


class Found(NamedTuple):
    """What was found, the newest first."""

    records: list[TaskRecord]
    back_to: datetime | None = None
    """No record before this one was looked at, for want of time; None: nothing is left to look at,
    or there are as many as were asked for."""


def look(storage: Storage, query: TaskQuery, seconds: float) -> Found:
    """As many as *query* has a limit for, or what there is to be found in about *seconds*.

    Where an index leads to them, or the storage cannot say how many records a stretch of time has,
    it takes as long as the storage takes. Raises `StorageError`.
    """
    if query.limit is None or has_index(storage, query):
        return Found(storage.find(query))
    if not isinstance(storage, StatisticsStorage):
        return Found(storage.find(query))
    oldest = storage.find(TaskQuery(limit=1, order="oldest"))
    if not oldest:
        return Found([])
    floor = max(filter(None, (query.since, oldest[0].date_created)))
    after = None if query.position is None else query.position[0] + _MILLISECOND
    top = min(filter(None, (query.until, after, storage.now() + _MILLISECOND)))
    found: list[TaskRecord] = []
    width, want, end = _FIRST, _AT_FIRST, time.monotonic() + seconds
    while True:
        since, number = _stretch(storage, floor, top, width, want)
        if number:
            began = time.monotonic()
            found += storage.find(replace(query, since=since, limit=query.limit - len(found)))
            now = time.monotonic()
            # Half of the time that is left, as some records take longer than others.
            want = min(int(number / max(now - began, 1e-6) * (end - now) / 2), _AT_MOST)
        if len(found) >= query.limit or since <= floor:
            return Found(found)
        if want < _AT_LEAST:
            return Found(found, since)
        width = top - since
        query, top = replace(query, until=since), since


def _stretch(
    storage: StatisticsStorage, floor: datetime, top: datetime, width: timedelta, want: int
) -> tuple[datetime, int]:
    """From when to *top* there are about *want* records, none of them before *floor*; and how many.

    *width* is where to begin to try.
    """
    shrunk = False
    while True:
        since = floor if top - floor <= width else cut(top - width)
        number = storage.count_capped(TaskQuery(since=since, until=top), want + 1)
        if number > want and width > _MILLISECOND:
            width, shrunk = min(width, top - since) / 2, True
        elif number < want / 8 and since > floor and not shrunk:
            width *= 8
        else:
            return since, number


def has_index(storage: Storage, query: TaskQuery) -> bool:
    """Whether the storage need not read what does not match; where it cannot say, a guess."""
    if isinstance(storage, IndexedStorage):
        return storage.has_index(query)
    return all(getattr(query, name) is None for name in _UNINDEXED)
