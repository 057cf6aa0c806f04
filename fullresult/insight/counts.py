"""How many there are in each state, up to a bound: what the tabs say."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fullresult.storage import StatisticsStorage

if TYPE_CHECKING:
    from fullresult.extension import FullResult
    from fullresult.storage import TaskQuery

MOST = 1000
_SLOW = ("name", "queue", "worker", "root_id", "group_id", "retry_of", "text", "args", "kwargs")
"""No index has these beside the state: counting would read record after record."""


class Counts(NamedTuple):
    """Records by state; none is counted beyond *most*."""

    by_state: dict[str, int]
    most: int = MOST

    def shown(self, state: str) -> str | None:
        """`12`, or `1,000+`; None where nobody counted."""
        number = self.by_state.get(state)
        if number is None:
            return None
        return f"{self.most:,}+" if number >= self.most else f"{number:,}"


def count_by_state(full: FullResult, query: TaskQuery) -> Counts:
    """What *query* would find in each state, where that is known fast. Raises `StorageError`."""
    if not isinstance(full.storage, StatisticsStorage) or any(getattr(query, n) for n in _SLOW):
        return Counts({})
    return Counts(full.count_states(query, cap=MOST))
