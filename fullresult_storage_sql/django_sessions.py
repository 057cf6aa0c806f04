"""Databases that are used over Django's own connection, within its transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from fullresult.storage import Refused, StorageError
from fullresult_storage_sql.django_places import is_memory
from fullresult_storage_sql.outbox_statements import MemoryOutlet, SQLiteOutlet
from fullresult_storage_sql.sqlite import SQLite
from fullresult_storage_sql.sqlite_conditions import SQL
from fullresult_storage_sql.sqlite_session import REFUSALS, Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fullresult_storage_sql.database import Database

T = TypeVar("T")


class JoinedSQLite(SQLite):
    """A SQLite database over the connection that Django has in this thread."""

    def __init__(self, connection: Callable[[], Any], file: Path, timeout: timedelta) -> None:
        super().__init__(file, timeout=timeout, pool_size=1)
        self._connection = connection

    def __repr__(self) -> str:
        return f"django://{self._connection().alias}"

    def outlet(self) -> SQLiteOutlet:
        name = str(self._connection().settings_dict["NAME"])
        return MemoryOutlet(SQL) if is_memory(name) else SQLiteOutlet(SQL, Path(name))

    def missing_file(self) -> str | None:
        """None: Django makes its own."""
        return None

    def _run(self, do: Callable[[Session], T]) -> T:
        try:
            connection = self._connection()
            connection.ensure_connection()
            return do(cast("Session", _Borrowed(connection.connection)))
        except REFUSALS as error:
            raise Refused(f"{self!r}: {error}") from error
        except Exception as error:
            # Of sqlite3, or of Django, which has classes of its own.
            raise StorageError(f"{self!r}: {error}") from error


class _Borrowed:
    """Django's connection, with the methods of ours. Its transactions are savepoints."""

    has_log = False

    def __init__(self, raw: sqlite3.Connection) -> None:
        self._raw = raw
        self._words = {
            "BEGIN IMMEDIATE": ["SAVEPOINT fullresult"],
            "COMMIT": ["RELEASE fullresult"],
            "ROLLBACK": ["ROLLBACK TO fullresult", "RELEASE fullresult"],
        }

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        *before, last = self._words.get(sql, [sql])
        for each in before:
            self._raw.execute(each)
        return self._raw.execute(last, values)

    def wait_for_disk(self, synchronous: str) -> None:
        """Leave it to Django's transaction."""


def joined_postgresql(connection: Callable[[], Any], url: str, timeout: timedelta) -> Database:
    """A PostgreSQL database over Django's connection by psycopg 3, which is in a transaction."""
    from fullresult_storage_sql.postgresql import PostgreSQL
    from fullresult_storage_sql.postgresql_session import Session as PgSession

    class Lent:
        """Stands in for `Connections`."""

        def use(self, do: Callable[[PgSession, bool], T]) -> T:
            session = self.take()[0]
            with session.transaction():  # a statement that fails spoils no more than itself
                return do(session, False)

        def take(self) -> tuple[PgSession, bool]:
            django = connection()
            django.ensure_connection()
            _begin(django.connection)
            with _handlers_kept(django.connection.pgconn):
                session = PgSession(django.connection.pgconn)
            session.deadline = timeout.total_seconds()
            return session, False

        def close(self) -> None:
            """Leave it open: it is Django's."""

    class Joined(PostgreSQL):
        def __init__(self) -> None:
            super().__init__(url, timeout=timeout, pool_size=1)
            self._server.connections = cast("Any", Lent())
            self._prepare = False  # a session is made for each use, and knows no names

        def begin_write(self, event: Any) -> Callable[[], list[str]]:
            lacking = self.write((event,))
            return lambda: lacking

    return Joined()


def _begin(connection: Any) -> None:
    """Have psycopg begin the transaction that Django wants: it waits for the first statement.

    Without one, as in a test of pytest-django, each of ours would be a transaction of its own.
    """
    if not connection.autocommit and connection.info.transaction_status.name == "IDLE":
        connection.execute("SELECT 1")


@contextmanager
def _handlers_kept(pgconn: Any) -> Iterator[None]:
    """Put back what hears of notices and notifications: psycopg takes both for a new connection."""
    notice, notify = pgconn.notice_handler, pgconn.notify_handler
    yield
    pgconn.notice_handler, pgconn.notify_handler = notice, notify
