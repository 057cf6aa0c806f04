"""The questions that find what went missing."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from fullresult.record import SCHEDULED
from fullresult.storage import TaskQuery


def stale_query(
    moved_before: datetime, acceptable_states: Collection[str] | None, limit: int | None
) -> TaskQuery:
    """Records that last moved, or were due, at *moved_before* or earlier and are not finished."""
    if acceptable_states is None:
        return TaskQuery(open=True, moved_before=moved_before, order="oldest", limit=limit)
    return TaskQuery(
        not_state=frozenset({*acceptable_states, SCHEDULED}),
        moved_before=moved_before,
        order="oldest",
        limit=limit,
    )
