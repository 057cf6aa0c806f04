"""The number of records that match a query, as far as there is time to count."""

from __future__ import annotations

from typing import NamedTuple

from fullresult.insight.search import has_index
from fullresult.storage import StatisticsStorage, Storage, TaskQuery, WalkingStorage

MOST = 10_000
"""Where counting stops."""
_LOOKED_AT = 20_000
"""Records that are looked at where no index leads to those that match: the newest."""


class Counted(NamedTuple):
    """A number of records."""

    number: int
    at_least: bool
    """True if there may be more."""


def count_up_to(storage: Storage, query: TaskQuery, most: int = MOST) -> Counted:
    """The number of records that *query* finds, *most* at most. Raises `StorageError`."""
    if isinstance(storage, WalkingStorage) and not has_index(storage, query):
        found = storage.tally(query, _LOOKED_AT)
        number = sum(found.by_state.values())
        return Counted(min(number, most), not found.is_all or number > most)
    if isinstance(storage, StatisticsStorage):
        number = storage.count_capped(query, most + 1)
    else:
        number = storage.count(query)
    return Counted(min(number, most), number > most)
