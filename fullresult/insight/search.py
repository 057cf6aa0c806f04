"""Searches that no index answers: portion by portion of the records, until the time is up."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from fullresult.record import TaskRecord
from fullresult.storage import (
    IndexedStorage,
    Storage,
    TaskQuery,
    WalkingStorage,
    is_behind_others,
)

_UNINDEXED = ("text", "args", "args_at", "kwargs", "queue", "worker", "exception")
AT_ONCE = 10_000
"""The number of records that are looked at in one read, and whatever the time."""


class Found(NamedTuple):
    """The records that were found, the newest first."""

    records: list[TaskRecord]
    looked_at: int | None = None
    """The number of records that were looked at, or a little less; None: all, by an index."""
    after: str | None = None
    """The cursor to go on from. None: nothing is left to look at, or the limit was reached."""

    @property
    def back_to(self) -> datetime | None:
        """The time to which was looked. None if nothing is left."""
        position = TaskQuery(after=self.after).position
        return None if position is None else position[0]


def look(storage: Storage, query: TaskQuery, seconds: float = 0) -> Found:
    """The records that *query* asks for, found among the next 10,000, or as far as *seconds* go.

    So the same question has the same answer, however busy the storage is. All records are looked at
    where an index leads to them, or where the storage cannot tell how far it came. Raises
    `StorageError`.
    """
    if query.limit is None or has_index(storage, query) or not isinstance(storage, WalkingStorage):
        return Found(storage.find(query))
    found: list[TaskRecord] = []
    looked_at, after, end = 0, query.after, time.monotonic() + seconds
    while True:
        missing = query.limit - len(found)
        records, after = storage.walk(replace(query, limit=missing, after=after), AT_ONCE)
        found += records
        if after is None or len(records) >= missing:
            return Found(found, looked_at)
        looked_at += AT_ONCE
        if time.monotonic() >= end:
            return Found(found, looked_at, after)


def has_index(storage: Storage, query: TaskQuery) -> bool:
    """True if an index leads to what matches. A guess for a storage that cannot say."""
    if isinstance(storage, IndexedStorage):
        return storage.has_index(query)
    is_named = all(getattr(query, name) is None for name in _UNINDEXED)
    return is_named and not is_behind_others(query)
