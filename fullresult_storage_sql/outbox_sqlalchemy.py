"""A connection or session of SQLAlchemy, synchronous or not, as a way into the outbox.

Statements go by SQLAlchemy's connection and not by the driver's below it: so they begin its
transaction, and it knows that there is something to commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Engine
from sqlalchemy.orm import Session, scoped_session

from fullresult_storage_sql.outbox_channels import (
    AsyncChannel,
    Channel,
    Described,
    Dialect,
    Rows,
    channel_of,
)

_DIALECTS: dict[str, Dialect] = {"postgresql": "postgresql", "sqlite": "sqlite"}
_PLACEHOLDERS = {"qmark": "?", "format": "%s", "pyformat": "%s", "numeric_dollar": "$1"}
"""By the driver's style of parameters. No statement for PostgreSQL has more than one value."""
_NUMBER = "fullresult_engine"
"""An execution option that means nothing to SQLAlchemy, and lives as long as its engine."""


class Driver:
    """The connection of a driver, below SQLAlchemy's."""

    def __init__(self, channel: Described, *, autocommits: bool) -> None:
        self._channel = channel
        self.autocommits = autocommits
        """True if it was told to commit each statement, behind SQLAlchemy's back."""

    @property
    def address(self) -> str:
        return self._channel.address

    def in_transaction(self) -> bool:
        return self._channel.in_transaction()


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
        # The engine's URL may lie: its other options, or a creator, say where connections lead to.
        driver = self._driver()
        return driver.address if driver else self._place()

    def in_transaction(self) -> bool:
        # There is one from the first statement on, unless each is to commit by itself.
        bind = self._open() or self._bind
        begun_with = getattr(bind.dialect, "_on_connect_isolation_level", None)
        if bind.get_execution_options().get("isolation_level", begun_with) == "AUTOCOMMIT":
            return False
        driver = self._driver()
        return driver is None or not driver.autocommits or driver.in_transaction()

    def _open(self) -> Connection | None:
        """The connection that statements go by; None while a session has none yet."""
        if isinstance(self._given, Connection):
            return self._given
        # Not told in public, and `Session.connection()` would connect.
        known = getattr(self._given.get_transaction(), "_connections", {})
        found = known.get(self._bind)
        return found[0] if found else None

    def _driver(self) -> Driver | None:
        """The driver's own connection, if there is one now, and of a kind that is known."""
        opened = self._open()
        inside = opened.connection.driver_connection if opened is not None else None
        known = None if inside is None else channel_of(inside)
        return (
            None
            if known is None
            else Driver(known, autocommits=getattr(inside, "autocommit", None) is True)
        )

    def _place(self) -> str:
        """The engine's database, told from that of every other engine."""
        engine = self._bind.engine
        if _NUMBER not in engine.get_execution_options():
            engine.update_execution_options(**{_NUMBER: uuid4().hex})
        number = engine.get_execution_options()[_NUMBER]
        url = engine.url
        place = f"{url.host}:{url.port}/{url.database}" if url.host else url.database
        return f"{place or 'the database'} of engine {number}"

    def nesting(self) -> int:
        # A connection's savepoint does not tell in public which one is around it; a session's does.
        around = "_previous_nested" if isinstance(self._given, Connection) else "parent"
        count, savepoint = 0, self._given.get_nested_transaction()
        while savepoint is not None and getattr(savepoint, "nested", True):
            count, savepoint = count + 1, getattr(savepoint, around, None)
        return count


class ConnectionChannel(_Described):
    def run(self, sql: str, values: Sequence[Any]) -> Rows:
        return _rows(self._open().exec_driver_sql(sql, tuple(values)))

    def _open(self) -> Connection:
        given = self._given
        return given if isinstance(given, Connection) else given.connection()


class AsyncConnectionChannel(_Described):
    """By *later*, an asynchronous connection or session; *given* is the one inside it."""

    def __init__(self, given: Connection | Session, later: Any) -> None:
        super().__init__(given)
        self._later = later

    def transaction(self) -> object | None:
        return self._given.get_transaction()

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
