"""A connection or session of SQLAlchemy, synchronous or not, as a way into the outbox.

Statements go by SQLAlchemy's connection and not by the driver's below it: so they begin its
transaction, and it knows that there is something to commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session, scoped_session

from fullresult_storage_sql.outbox_channels import AsyncChannel, Channel, Dialect, Rows

_DIALECTS: dict[str, Dialect] = {"postgresql": "postgresql", "sqlite": "sqlite"}
_PLACEHOLDERS = {"qmark": "?", "format": "%s", "pyformat": "%s", "numeric_dollar": "$1"}
"""By the driver's style of parameters. No statement for PostgreSQL has more than one value."""


class _Described:
    def __init__(self, given: Connection | Session) -> None:
        self._given = given
        self._bind: Connection | Engine = (
            given if isinstance(given, Connection) else given.get_bind()
        )
        self.dialect = _DIALECTS[self._bind.dialect.name]
        self.placeholder = _PLACEHOLDERS[self._bind.dialect.paramstyle]

    @property
    def address(self) -> str:
        url = self._bind.engine.url
        if url.database is None:  # A creator makes the connections, and only it knows where to.
            return f"the database of engine {id(self._bind.engine):x}"
        return f"{url.host}:{url.port}/{url.database}" if url.host else url.database

    def in_transaction(self) -> bool:
        # There is one from the first statement on, unless each is to commit by itself.
        options = self._bind.get_execution_options()
        begun_with = getattr(self._bind.dialect, "_on_connect_isolation_level", None)
        return options.get("isolation_level", begun_with) != "AUTOCOMMIT"

    def nesting(self) -> int:
        if isinstance(self._given, Connection):
            return int(self._given.in_nested_transaction())
        count, transaction = 0, self._given.get_nested_transaction()
        while transaction is not None and transaction.nested:
            count, transaction = count + 1, transaction.parent
        return count


class ConnectionChannel(_Described):
    def run(self, sql: str, values: Sequence[Any]) -> Rows:
        given = self._given
        connection = given if isinstance(given, Connection) else given.connection()
        return _rows(connection.exec_driver_sql(sql, tuple(values)))


class AsyncConnectionChannel(_Described):
    """By *later*, an asynchronous connection or session; *given* is the one inside it."""

    def __init__(self, given: Connection | Session, later: Any) -> None:
        super().__init__(given)
        self._later = later

    async def run_later(self, sql: str, values: Sequence[Any]) -> Rows:
        later = self._later
        if isinstance(self._given, Session):
            later = await later.connection()
        return _rows(await later.exec_driver_sql(sql, tuple(values)))


def _rows(result: Any) -> Rows:
    return [tuple(row) for row in result.all()] if result.returns_rows else []


def channel(given: object) -> Channel | AsyncChannel | None:
    if isinstance(given, scoped_session):
        given = given()
    if isinstance(given, (Connection, Session)):
        return ConnectionChannel(given) if _is_known(given) else None
    return _async_channel(given)


def _async_channel(given: object) -> AsyncChannel | None:
    # Apart from the above, for it takes greenlet, which not everybody has.
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session

    if isinstance(given, async_scoped_session):
        given = given()
    if isinstance(given, AsyncConnection):
        inside: Connection | Session | None = given.sync_connection
        if inside is None:
            raise ValueError("this connection of SQLAlchemy's has not begun: await it first")
    elif isinstance(given, AsyncSession):
        inside = given.sync_session
    else:
        return None
    return AsyncConnectionChannel(inside, given) if _is_known(inside) else None


def _is_known(given: Connection | Session) -> bool:
    dialect = (given if isinstance(given, Connection) else given.get_bind()).dialect
    return dialect.name in _DIALECTS and dialect.paramstyle in _PLACEHOLDERS
