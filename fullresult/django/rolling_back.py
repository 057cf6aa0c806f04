"""What a test captured goes when the transaction that it was published in is rolled back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakSet


class _Entry(NamedTuple):
    connection: Any
    savepoints: frozenset[str]
    take_back: Callable[[], None]


class RollingBack:
    """Takes things back that were done in transactions of Django's which are still open."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []

    def note(self, connection: Any, take_back: Callable[[], None]) -> None:
        """Call *take_back* if what is open now on *connection* is rolled back."""
        _watched(connection).fullresult_watchers.add(self)
        savepoints = frozenset(filter(None, connection.savepoint_ids))
        self._entries.append(_Entry(connection, savepoints, take_back))

    def committed(self, connection: Any) -> None:
        self._entries = [each for each in self._entries if each.connection is not connection]

    def rolled_back(self, connection: Any, savepoint: str | None) -> None:
        """Take back what was done since *savepoint*; None: since the transaction began."""
        kept = []
        for each in self._entries:
            inside = savepoint is None or savepoint in each.savepoints
            if each.connection is connection and inside:
                each.take_back()
            else:
                kept.append(each)
        self._entries = kept


def _watched(connection: Any) -> Any:
    """*connection*, which from now on tells its `fullresult_watchers`. It does so in tests only."""
    kind: Any = type(connection)
    if hasattr(kind, "fullresult_watches"):
        return connection

    class Watched(kind):
        fullresult_watches = True

        def commit(self) -> None:
            super().commit()
            for each in list(self.fullresult_watchers):
                each.committed(self)

        def rollback(self) -> None:
            try:
                super().rollback()
            finally:
                self._tell_rolled_back(None)

        def savepoint_rollback(self, sid: str) -> None:
            try:
                super().savepoint_rollback(sid)
            finally:
                self._tell_rolled_back(sid)

        def _tell_rolled_back(self, savepoint: str | None) -> None:
            for each in list(self.fullresult_watchers):
                each.rolled_back(self, savepoint)

    connection.__class__ = Watched
    connection.fullresult_watchers = WeakSet()
    return connection
