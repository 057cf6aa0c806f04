"""The outbox of a SQLite file, and how its commits are noticed."""

from __future__ import annotations

import sqlite3
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fullresult.storage import CommitListener, Identity, Reached, StorageError
from fullresult_storage_sql.connections import Connections
from fullresult_storage_sql.outbox_channels import Dialect
from fullresult_storage_sql.outbox_statements import SQLiteOutlet, answered
from fullresult_storage_sql.sqlite_conditions import SQL
from fullresult_storage_sql.sqlite_session import Session

_OFTEN = 0.02
"""Seconds between two looks; each takes 7 µs."""


class Home:
    """The methods of `Database` that are about the outbox."""

    dialect: Dialect = "sqlite"
    _file: Path
    _timeout: float

    @abstractmethod
    def ask(self, sql: str, values: Sequence[Any]) -> list[Sequence[Any]]:
        """`Database.ask`."""

    @abstractmethod
    def _connect(self) -> Session:
        """A new connection."""

    def identity(self) -> Identity:
        return answered(self.outlet().identity(), self.ask)

    def outlet(self) -> SQLiteOutlet:
        return SQLiteOutlet(SQL, self._file)

    def listener(self, namespace: str) -> CommitListener:  # noqa: ARG002  (a file does not tell)
        return SQLiteListener(self._connect, self._timeout)

    def reached(self) -> Reached:
        raise StorageError("a file of SQLite has no replicas")


class SQLiteListener:
    """`fullresult.storage.CommitListener`: hears of each commit of another connection."""

    def __init__(self, connect: Callable[[], Session], timeout: float) -> None:
        self._connections = Connections(connect, size=1, timeout=timeout, close_before_fork=True)
        self._version = -1

    def wait(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while not self._is_new():
            if time.monotonic() >= until:
                return False
            time.sleep(_OFTEN)
        return True

    def _is_new(self) -> bool:
        before = self._version
        try:
            self._version, used = self._connections.use(_version)
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"commits cannot be noticed: {error}") from error
        return self._version != before or not used

    def close(self) -> None:
        self._connections.close()


def _version(session: Session, used: bool) -> tuple[int, bool]:
    ((version,),) = session.execute("PRAGMA data_version").fetchall()
    return version, used
