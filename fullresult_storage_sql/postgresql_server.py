"""Runs calls on one PostgreSQL server: connects, waits, tries again, translates errors."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import errors

from fullresult.config import without_password
from fullresult.storage import NoRoom, Refused, StorageError
from fullresult_storage_sql import statements
from fullresult_storage_sql.connections import Connections
from fullresult_storage_sql.postgresql_door import Door, Note
from fullresult_storage_sql.postgresql_room import settle
from fullresult_storage_sql.postgresql_session import REFUSALS, PlainSession, Session
from fullresult_storage_sql.postgresql_statements import SQL

T = TypeVar("T")

logger = logging.getLogger(__name__)

_OLDEST = 14
_SETTINGS = statements.numbered(SQL["session_settings"])
_PARTITIONED = SQL["is_partitioned"]
_FULL = ("too many clients", "too many connections", "remaining connection slots")
"""What servers say that have no room: of a failed connection psycopg has only the text."""
CONFLICTS = (errors.SerializationFailure, errors.DeadlockDetected)
PARTITIONED_SINCE = errors.InvalidColumnReference
"""What a session hears that began before the tables were partitioned."""


class Server:
    """One PostgreSQL database of version 14 or newer, and this process's connections to it."""

    def __init__(
        self,
        url: str,
        *,
        timeout: timedelta,
        pool_size: int,
        prepare: bool,
        home: Path | None = None,
    ) -> None:
        self._url = url
        self.timeout = timeout.total_seconds()
        self._is_shared = not prepare
        """A proxy lends the server's sessions to others between our transactions."""
        self._kind = Session
        self._door = Door(None if self._is_shared else home, url, self.timeout)
        self.connections: Connections[Session] = Connections(
            self._connect_in_room, size=pool_size, timeout=self.timeout
        )

    def __repr__(self) -> str:
        return without_password(self._url)

    def _connect_in_room(self) -> Session:
        """Connect, unless a crowd of ours leaves the rest to others. Raises `NoRoom`."""
        if self._is_shared:
            return self.connect()  # the proxy has its own bounds
        try:
            with self._door.turn() as note:
                return self._connect_and_settle(note)
        except NoRoom as error:
            raise type(error)(f"{self!r}: {error}") from None

    def _connect_and_settle(self, note: Note) -> Session:
        session = self.connect()
        try:
            note(settle(session))
        except BaseException:
            session.close()
            raise
        return session

    def connect(self) -> Session:
        session = self._open()
        try:
            self._begin(session)
        except (AttributeError, TypeError) as error:
            session.close()
            if self._kind is PlainSession:
                raise
            return self._connect_plainly(error)
        except BaseException:
            session.close()
            raise
        return session

    def _begin(self, session: Session) -> None:
        if self._is_shared:
            self._check_dates(session)
            session.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            look_for_partitions(session)
            return
        session.send(_SETTINGS, [_milliseconds(self.timeout)], prepare=False)
        session.is_partitioned = session.first_row()[-1] == b"t"
        with suppress(errors.DataError, errors.FeatureNotSupported):
            session.execute(SQL["notice_lost_clients"])

    def _check_dates(self, session: Session) -> None:
        session.send(SQL["date_style"], (), prepare=False)
        style = (session.first_value() or b"").decode()
        if not style.startswith("ISO"):
            raise StorageError(
                f"{self!r}: dates come as {style!r}; where sessions are shared (?prepare=off), run "
                "ALTER ROLE … SET datestyle = 'ISO'"
            )

    def _connect_plainly(self, error: Exception) -> Session:
        logger.warning(
            "fullresult: psycopg %s is not the one that this version was made for (%s): "
            "it works, and statements take about twice the CPU",
            psycopg.__version__,
            error,
        )
        self._kind = PlainSession
        return self.connect()

    def _open(self) -> Session:
        session = self._kind.connect(
            self._url,
            autocommit=True,
            prepare_threshold=None if self._is_shared else 5,
            connect_timeout=math.ceil(self.timeout),
            client_encoding="utf8",
        )
        session.deadline = self.timeout
        try:
            self._check_server(session)
        except BaseException:
            session.close()
            raise
        return session

    def _check_server(self, session: Session) -> None:
        if session.info.server_version < _OLDEST * 10_000:
            raise StorageError(
                f"{self!r} is PostgreSQL {session.info.server_version // 10_000}: "
                f"fullresult needs {_OLDEST} or newer"
            )
        encoding = session.info.parameter_status("server_encoding")
        if encoding not in (None, "UTF8"):
            raise StorageError(
                f"{self!r} has the encoding {encoding}, which cannot keep texts of every language; "
                "fullresult needs UTF8: createdb --encoding=UTF8 --template=template0"
            )

    @contextmanager
    def waiting(self, session: Session, seconds: float | None) -> Iterator[None]:
        """In a transaction: wait *seconds* for each answer within; None: for ever."""
        session.deadline = seconds
        try:
            session.execute(SQL["statement_timeout"], [_milliseconds(seconds)])
            yield
            session.execute(SQL["statement_timeout"], [_milliseconds(self.timeout)])
        finally:
            session.deadline = self.timeout

    @contextmanager
    def unlimited(self, session: Session) -> Iterator[None]:
        """Outside a transaction: let statements take as long as they need within."""
        session.deadline = None
        try:
            if not self._is_shared:
                session.execute("SET statement_timeout = 0")
            yield
            if not self._is_shared:
                self._begin(session)
        finally:
            session.deadline = self.timeout

    def ask(self, session: Session, sql: str, values: Sequence[Any]) -> list[Sequence[Any]]:
        # Never prepared: after five times PostgreSQL would plan for any value, badly for most.
        if not self._is_shared:
            return list(session.execute(sql, values, prepare=False).fetchall())
        with session.pipeline(), session.transaction():
            session.execute(SQL["transaction_settings"], [_milliseconds(self.timeout)])
            answer = session.execute(sql, values, prepare=False)
        return list(answer.fetchall())

    def run(self, do: Callable[[Session], T]) -> T:
        """`do(session)`, which is idempotent; once more if an idle connection was dead."""

        def once(session: Session, used: bool) -> T:
            try:
                return do(session)
            except psycopg.OperationalError as error:
                if is_stale(session, error, used=used):
                    raise Stale(str(error)) from error
                raise

        return self.translated(partial(self.connections.use, once), again=True)

    def run_once(self, do: Callable[[Session], T]) -> T:
        """`do(session)`; again only if the first time certainly did nothing."""

        def once(session: Session, used: bool) -> T:
            if used and session.has_hung_up():
                raise Stale("the server ended the connection")
            return do(session)

        return self.translated(partial(self.connections.use, once), again=True)

    def _again(self, do: Callable[[], T]) -> T:
        """`do()`; once more if a connection was dead, or another transaction got in the way."""
        try:
            return do()
        except (Stale, PARTITIONED_SINCE):
            self.connections.close()
        except CONFLICTS:
            pass
        return do()

    def translated(self, do: Callable[[], T], *, again: bool = False) -> T:
        """`do()`, if *again* as `_again`, with psycopg's errors raised as the contract's."""
        try:
            return self._again(do) if again else do()
        except REFUSALS as error:
            raise Refused(f"{self!r}: {error}") from error
        except (errors.InvalidSqlStatementName, errors.DuplicatePreparedStatement) as error:
            raise StorageError(
                f"{self!r}: {error}; behind a proxy that pools transactions, add ?prepare=off"
            ) from error
        except errors.UndefinedTable as error:
            raise StorageError(
                f"{self!r}: {error}; run `celery -A proj fullresult setup`"
            ) from error
        except psycopg.Error as error:
            kind = NoRoom if any(text in str(error) for text in _FULL) else StorageError
            raise kind(f"{self!r}: {error}") from error


def _milliseconds(seconds: float | None) -> str:
    """A little less than *seconds*, so that the server gives up first. 0: no limit."""
    return "0" if seconds is None else str(max(1, int(seconds * 900)))


def look_for_partitions(session: Session) -> None:
    session.send(_PARTITIONED, (), prepare=False)
    session.is_partitioned = session.first_values() == [b"t"]


def is_stale(session: Session, error: BaseException, *, used: bool) -> bool:
    return used and session.broken and isinstance(error, psycopg.OperationalError)


class Stale(psycopg.OperationalError):
    """A connection that had been idle was dead when it was used."""
