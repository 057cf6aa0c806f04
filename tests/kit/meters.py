"""Meters of what a storage is asked and what it writes, which no machine's speed changes.

Each is entered with the URL of an empty storage; `url` is the one to open it by, `server` the name
and version of what keeps it, `read()` what was used since it was read last, by unit. In `hold()`
nothing can be written.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg
from pymongo import MongoClient

from tests.kit.wire import Wire, listening

Use = dict[str, int]


class Meter(Protocol):
    url: str
    server: str

    def read(self) -> Use: ...

    def hold(self) -> AbstractContextManager[None]: ...


class _OfWire:
    def __init__(self, wire: Wire, url: str, server: str) -> None:
        self._wire, self.url, self.server = wire, url, server

    def read(self) -> Use:
        wire = self._wire
        use = {
            "statements": len(wire.statements),
            "round trips": wire.turns,
            "bytes sent": wire.sent,
            "bytes received": wire.received,
        }
        wire.clear()
        return use

    def hold(self) -> AbstractContextManager[None]:
        return self._wire.silence()


class _OfPostgreSQL(_OfWire):
    """Beside what passes, the bytes of the server's log, so it must have nothing else to do."""

    def __init__(self, wire: Wire, url: str, ask: psycopg.Connection) -> None:
        version = ask.info.server_version
        super().__init__(wire, url, f"PostgreSQL {version // 10_000}.{version % 10_000}")
        self._ask = ask
        self._logged = self._log()

    def read(self) -> Use:
        before, self._logged = self._logged, self._log()
        return {**super().read(), "bytes of WAL": self._logged - before}

    def _log(self) -> int:
        row = self._ask.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()
        assert row is not None
        return int(row[0])


class _OfSQLite:
    """The pages that are in the log of the file, which is not written back meanwhile."""

    server = f"SQLite {sqlite3.sqlite_version}"

    def __init__(self, url: str) -> None:
        self.url = url
        self._path = url.removeprefix("sqlite:///")
        self._logged = 0

    def read(self) -> Use:
        before, self._logged = self._logged, self._log()
        return {"pages": self._logged - before}

    def _log(self) -> int:
        # The number of its last valid page, from the header of its index: sqlite.org/walformat.html
        index = Path(f"{self._path}-shm")
        return int(struct.unpack_from("=I", index.read_bytes(), 16)[0]) if index.exists() else 0

    @contextmanager
    def hold(self) -> Iterator[None]:
        with closing(sqlite3.connect(self._path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")


@contextmanager
def metered(url: str) -> Iterator[Meter]:
    """The meter for the kind of storage at *url*."""
    with ExitStack() as stack:
        if url.startswith("sqlite"):
            yield _OfSQLite(url)
            return
        wire, through = stack.enter_context(listening(url))
        if url.startswith("postgresql"):
            ask = stack.enter_context(psycopg.connect(url, autocommit=True))
            yield _OfPostgreSQL(wire, through, ask)
        else:
            yield _OfWire(wire, through, _mongodb_at(url))


def _mongodb_at(url: str) -> str:
    with MongoClient[dict[str, Any]](url) as client:
        return f"MongoDB {client.server_info()['version']}"
