"""A connection of asyncpg, or one that its pool lends, as a way into the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asyncpg import Connection
from asyncpg.pool import PoolConnectionProxy

from fullresult_storage_sql.outbox_channels import AsyncChannel, Dialect, Rows


class AsyncpgChannel:
    dialect: Dialect = "postgresql"
    placeholder = "$1"
    """No statement of an outbox has more than one value."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    @property
    def address(self) -> str:
        # asyncpg tells neither in public. Without them, each connection has an address of its own.
        place = getattr(self._connection, "_addr", None)
        database = getattr(getattr(self._connection, "_params", None), "database", None)
        if place is None or database is None:
            return f"asyncpg's connection {self._connection.get_server_pid()}"
        return f"{place if isinstance(place, str) else ':'.join(map(str, place))}/{database}"

    def in_transaction(self) -> bool:
        return bool(self._connection.is_in_transaction())

    def nesting(self) -> int:
        return 0

    def transaction(self) -> object | None:
        # Not told in public, and not at all of one that was begun by a statement.
        told: object | None = getattr(self._connection, "_top_xact", None)
        return told or ("open" if self.in_transaction() else None)

    async def run_later(self, sql: str, values: Sequence[Any]) -> Rows:
        return [tuple(row) for row in await self._connection.fetch(sql, *values)]


def channel(connection: object) -> AsyncChannel | None:
    if isinstance(connection, (Connection, PoolConnectionProxy)):
        return AsyncpgChannel(connection)
    return None
