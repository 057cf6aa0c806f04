"""Deletes groups and chords that have expired, in a transaction of any SQL database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any, Protocol

from fullresult_storage_sql import rows

_MEMBERS = 20
"""Members of chords that are deleted at once, for each chord that may be."""
Ask = Callable[[str, Sequence[Any]], list[Sequence[Any]]]
"""Runs one statement of the transaction and returns its rows."""


class _Dialect(Protocol):
    @property
    def sql(self) -> dict[str, str]: ...

    def many(self, ids: Collection[str]) -> Any: ...


def expired_results(database: _Dialect, ask: Ask, now: datetime, limit: int) -> bool:
    """`ResultStorage.delete_expired_results`."""
    expired = [rows.date_text(now), max(limit, 0)]
    groups = ask(database.sql["delete_expired_groups"], expired)
    chords = [row[0] for row in ask(database.sql["expired_chords"], expired)]
    is_all = _forget(database, ask, chords, max(limit * _MEMBERS, 1))
    return not is_all or 0 < limit <= max(len(groups), len(chords))


def _forget(database: _Dialect, ask: Ask, chords: Collection[str], most: int) -> bool:
    """Delete up to *most* members of *chords*; if these are all, True, and the chords too."""
    ids = database.many(chords)
    members = ask(database.sql["forget_some_members"], [ids, most])
    if len(members) == most:
        ask(database.sql["empty_chords"], [ids])
        return False
    ask(database.sql["forget_bodies"], [ids])
    ask(database.sql["forget_chords"], [ids])
    return True
