"""A connection of psycopg 3, synchronous or not, as a way into the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection, AsyncCursor, BaseConnection, Connection, Cursor
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from fullresult_storage_sql.outbox_channels import AsyncChannel, Channel, Dialect, Rows


class _Described:
    dialect: Dialect = "postgresql"
    placeholder = "%s"

    def __init__(self, connection: BaseConnection[Any]) -> None:
        self._described = connection

    @property
    def address(self) -> str:
        info = self._described.info
        return f"{info.host}:{info.port}/{info.dbname}"

    def in_transaction(self) -> bool:
        is_idle = self._described.info.transaction_status == TransactionStatus.IDLE
        return not (self._described.autocommit and is_idle)

    def nesting(self) -> int:
        # Its blocks: the outermost may be a savepoint, too.
        return int(getattr(self._described, "_num_transactions", 0))


class PsycopgChannel(_Described):
    def __init__(self, connection: Connection[Any]) -> None:
        super().__init__(connection)
        self._connection = connection

    def run(self, sql: str, values: Sequence[Any]) -> Rows:
        # Not the connection's own factories, of which other placeholders or rows may come.
        with Cursor(self._connection, row_factory=tuple_row) as cursor:
            cursor.execute(sql.encode(), values)
            return [*cursor.fetchall()]


class AsyncPsycopgChannel(_Described):
    def __init__(self, connection: AsyncConnection[Any]) -> None:
        super().__init__(connection)
        self._connection = connection

    def transaction(self) -> object | None:
        # It tells no transaction from the next one.
        status = self._connection.info.transaction_status
        is_open = status in {TransactionStatus.INTRANS, TransactionStatus.INERROR}
        return "open" if is_open else None

    async def run_later(self, sql: str, values: Sequence[Any]) -> Rows:
        async with AsyncCursor(self._connection, row_factory=tuple_row) as cursor:
            await cursor.execute(sql.encode(), values)
            return [*await cursor.fetchall()]


def channel(connection: object) -> Channel | AsyncChannel | None:
    if isinstance(connection, Connection):
        return PsycopgChannel(connection)
    if isinstance(connection, AsyncConnection):
        return AsyncPsycopgChannel(connection)
    return None
