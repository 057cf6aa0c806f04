"""A connection of Django's, or its alias, as a way into the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from fullresult_storage_sql.outbox_channels import Channel, Dialect, Rows, channel_of

_DIALECTS = ("postgresql", "sqlite")


class DjangoChannel:
    placeholder = "%s"

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.dialect = cast("Dialect", connection.vendor)

    @property
    def address(self) -> str:
        # The driver's own: a service, or other options, may say what the settings do not.
        self._connection.ensure_connection()
        driver = channel_of(self._connection.connection)
        return driver.address if driver else f"Django's connection {self._connection.alias}"

    def in_transaction(self) -> bool:
        return bool(self._connection.in_atomic_block) or not self._connection.get_autocommit()

    def nesting(self) -> int:
        return len(self._connection.savepoint_ids)

    def run(self, sql: str, values: Sequence[Any]) -> Rows:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, values)
            return list(cursor.fetchall()) if cursor.description else []


def channel(connection: object) -> Channel | None:
    """Of a wrapper, or of an alias: then this thread's wrapper of that name."""
    if isinstance(connection, str):
        from django.db import connections

        connection = connections[connection]
    known = getattr(connection, "vendor", None) in _DIALECTS
    return DjangoChannel(connection) if known and hasattr(connection, "in_atomic_block") else None
