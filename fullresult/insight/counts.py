"""The number of records in each state, counted up to a bound."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from fullresult.record import STATES
from fullresult.storage import StatisticsStorage, Storage, TaskQuery

MOST = 1000
_SLOW = (
    *("task_ids", "name", "queue", "worker", "root_id", "group_id", "retry_of"),
    *("text", "args", "kwargs"),
)
"""A query with one of these is not counted: no index has it beside the state."""


class StateCounts(NamedTuple):
    """The number of records by state; none is greater than *most*."""

    by_state: dict[str, int]
    most: int = MOST

    def shown(self, state: str) -> str | None:
        """`12`, or `1,000+`; None for a state that was not counted."""
        number = self.by_state.get(state)
        if number is None:
            return None
        return f"{self.most:,}+" if number >= self.most else f"{number:,}"


def count_by_state(storage: Storage, query: TaskQuery) -> StateCounts:
    """The number of records that *query* finds, by state; empty where no index can answer.

    Raises `StorageError`.
    """
    if not isinstance(storage, StatisticsStorage) or any(getattr(query, n) for n in _SLOW):
        return StateCounts({})
    return StateCounts(count_states(storage, query, MOST))


def count_states(storage: StatisticsStorage, query: TaskQuery, cap: int) -> dict[str, int]:
    """The number of records that *query* finds, by each state that it allows; *cap* at most."""
    allowed = STATES if query.states is None else query.states
    return {
        state: storage.count_capped(replace(query, state=state), cap)
        for state in allowed
        if state not in query.not_state
    }
