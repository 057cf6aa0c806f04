"""A page that is looked for in short reads, where some millions of records may stand before it."""

from __future__ import annotations

from dataclasses import replace

from fullresult.record import TaskRecord
from fullresult.record.query import TaskQuery
from fullresult.storage.optional import WalkingStorage

LOOKED = 20_000
"""Records that one read looks at: some 40 ms."""
_FIRST, _MORE = 1_000, 4
"""The first read looks at so many, and each at so many times more than the one before."""


def find_in_parts(storage: WalkingStorage, query: TaskQuery, limit: int) -> list[TaskRecord]:
    """What `find` returns for *query*, whose limit is *limit*."""
    found: list[TaskRecord] = []
    after, looked = query.after, _FIRST
    while True:
        part = replace(query, limit=limit - len(found), after=after)
        records, after = storage.walk(part, min(looked, LOOKED))
        found += records
        if after is None or len(found) >= limit:
            return found
        looked *= _MORE
