"""Tasks that neither finished nor moved for too long."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from fullresult.record import SCHEDULED, TaskRecord
from fullresult.storage import Storage, TaskQuery


def find_stale(
    storage: Storage,
    age: timedelta,
    acceptable_states: Collection[str] | None,
    limit: int | None,
    after: str | None = None,
) -> list[TaskRecord]:
    """A page of the tasks that are stale for *age* by the storage's clock, the oldest first.

    Raises `StorageError`.
    """
    query = stale_query(storage.now() - age, acceptable_states, limit)
    return storage.find(replace(query, after=after))


def stale_query(
    moved_before: datetime, acceptable_states: Collection[str] | None, limit: int | None
) -> TaskQuery:
    """The query for what last moved, or was due, at *moved_before* or earlier and is not finished.

    With *acceptable_states*, the query for what is in any other state instead; none is the default.
    """
    if not acceptable_states:
        return TaskQuery(open=True, moved_before=moved_before, order="oldest", limit=limit)
    return TaskQuery(
        not_state=frozenset({*acceptable_states, SCHEDULED}),
        moved_before=moved_before,
        order="oldest",
        limit=limit,
    )
