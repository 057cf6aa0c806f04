"""Searches that no index answers: slice by slice of time, until the time for it is up."""

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
"""The number of records in a slice."""


class Found(NamedTuple):
    """The records that were found, the newest first."""

    records: list[TaskRecord]
    back_to: datetime | None = None
    """The time at which the search stopped: no older record was looked at. None: nothing is left to
    look at, or the limit of the query was reached."""


def look(storage: Storage, query: TaskQuery, seconds: float) -> Found:
    """The records that *query* asks for, as far as they are found in about *seconds*.

    The time has no bound where an index leads to them, or where the storage cannot count the
    records of a slice. Raises `StorageError`.
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
            # Half of the time that is left: some records take longer than others.
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
    """(since, number): from *since* to *top* there are *number* records, about *want*.

    *since* is not before *floor*. *width* is the first length to try.
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
    """True if an index leads to what matches. A guess for a storage that cannot say."""
    if isinstance(storage, IndexedStorage):
        return storage.has_index(query)
    return all(getattr(query, name) is None for name in _UNINDEXED)
