"""The caller's connections: each kind is a module, found by the name of the driver's package.

A new kind is a file with a function `channel(connection)`, and a line in `KINDS`. It may import its
driver, for the caller has done so.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any, Literal, Protocol

Dialect = Literal["postgresql", "sqlite"]
Rows = list[Sequence[Any]]

KINDS = {
    "django": "outbox_django",
    "psycopg": "outbox_psycopg",
    "psycopg2": "outbox_psycopg2",
    "asyncpg": "outbox_asyncpg",
    "sqlite3": "outbox_sqlite3",
    "sqlalchemy": "outbox_sqlalchemy",
}
"""By the package of a connection's class, or of one of its bases: the module that knows it."""


class Described(Protocol):
    """What a connection of any kind tells about itself."""

    @property
    def dialect(self) -> Dialect:
        """The database that it speaks to."""
        ...

    @property
    def placeholder(self) -> str:
        """The sign for a value in a statement."""
        ...

    @property
    def address(self) -> str:
        """The database that it leads to, without a password: the same text for the same one."""
        ...

    def in_transaction(self) -> bool:
        """True if a statement now belongs to a transaction that the caller ends."""
        ...

    def nesting(self) -> int:
        """The number of savepoints that are open; 0 where the driver does not tell."""
        ...


class Channel(Described, Protocol):
    """A connection of the caller's that answers at once."""

    def run(self, sql: str, values: Sequence[Any]) -> Rows:
        """Run one statement in the caller's transaction. Raises the driver's errors."""
        ...


class AsyncChannel(Described, Protocol):
    """A connection of the caller's whose answers are awaited."""

    def transaction(self) -> object | None:
        """`AsyncOutboxWriter.transaction`."""
        ...

    def run_later(self, sql: str, values: Sequence[Any]) -> Awaitable[Rows]:
        """`Channel.run`."""
        ...


def channel_of(connection: object) -> Channel | AsyncChannel | None:
    """The channel of *connection*; None if no module knows its class.

    Text is the alias of a connection of Django's.
    """
    if isinstance(connection, str):
        packages = ["django"]
    else:
        # The second are those of what a proxy stands for, as tools that trace programs make them.
        classes = (*type(connection).__mro__, *connection.__class__.__mro__)
        packages = [each.__module__.partition(".")[0] for each in dict.fromkeys(classes)]
    for package in packages:
        if package in KINDS and package in sys.modules:
            module = import_module(f"fullresult_storage_sql.{KINDS[package]}")
            found: Channel | AsyncChannel | None = module.channel(connection)
            if found is not None:
                return found
    return None


@lru_cache(maxsize=64)
def spelt(sql: str, sign: str, placeholder: str) -> str:
    """*sql*, whose values stand as *sign*, with a connection's own *placeholder*."""
    return sql if sign == placeholder else sql.replace(sign, placeholder)
