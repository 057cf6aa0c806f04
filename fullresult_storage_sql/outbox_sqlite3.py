"""A connection of Python's sqlite3 as a way into the outbox."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from fullresult_storage_sql.outbox_channels import Channel, Dialect, Rows


class Sqlite3Channel:
    dialect: Dialect = "sqlite"
    placeholder = "?"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @property
    def address(self) -> str:
        rows = self.run("PRAGMA database_list", ())
        files = [f"sqlite:///{file}" for _, _, file in rows if file]
        return " ".join(files) or "a database in memory"

    def in_transaction(self) -> bool:
        if self._connection.in_transaction:
            return True
        # Until Python 3.12 there is only the older attribute: with it, an INSERT begins one.
        autocommit = getattr(self._connection, "autocommit", -1)
        return autocommit is False or (autocommit == -1 and self._is_legacy())

    def _is_legacy(self) -> bool:
        return self._connection.isolation_level is not None

    def nesting(self) -> int:
        return 0

    def run(self, sql: str, values: Sequence[Any]) -> Rows:
        with closing(self._connection.cursor()) as cursor:
            cursor.row_factory = None
            return cursor.execute(sql, values).fetchall()


def channel(connection: object) -> Channel | None:
    return Sqlite3Channel(connection) if isinstance(connection, sqlite3.Connection) else None
