"""A connection of psycopg2 as a way into the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection, cursor

from fullresult_storage_sql.outbox_channels import Channel, Dialect, Rows


class Psycopg2Channel:
    dialect: Dialect = "postgresql"
    placeholder = "%s"

    def __init__(self, given: connection) -> None:
        self._connection = given

    @property
    def address(self) -> str:
        info = self._connection.info
        return f"{info.host}:{info.port}/{info.dbname}"

    def in_transaction(self) -> bool:
        is_idle = self._connection.info.transaction_status == TRANSACTION_STATUS_IDLE
        return not (self._connection.autocommit and is_idle)

    def nesting(self) -> int:
        return 0

    def run(self, sql: str, values: Sequence[Any]) -> Rows:
        # Not the connection's own factory, of which rows of another shape may come.
        with self._connection.cursor(cursor_factory=cursor) as cur:
            cur.execute(sql, values)
            return [*cur.fetchall()]


def channel(given: object) -> Channel | None:
    return Psycopg2Channel(given) if isinstance(given, connection) else None
