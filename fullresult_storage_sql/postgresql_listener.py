"""Hears of commits into the outbox by PostgreSQL's NOTIFY, on a connection of its own."""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable
from contextlib import suppress

import psycopg

from fullresult.storage import StorageError
from fullresult_storage_sql.postgresql_server import Server
from fullresult_storage_sql.postgresql_session import Session
from fullresult_storage_sql.postgresql_statements import SQL

_LISTEN = "LISTEN fullresult"
_ALIVE_EVERY = 30.0
"""Seconds after which a silent server is asked if it is there."""
_RESTLESS = 0.02
"""Seconds that a wait takes at most while this does not rest, for then it may be asked to."""
_GIVEN_UP_AFTER = "30s"
"""So the server ends the session of a lost host, for which each commit would give a notice."""


class PostgreSQLListener:
    """`fullresult.storage.RestingListener`."""

    def __init__(self, server: Server, payload: str, lock: Callable[[], int]) -> None:
        """*payload* is what its notices say, *lock* the advisory lock to hold while it rests."""
        self._server = server
        self._payload = payload
        self._lock = lock
        self._rests = False
        self._heard = False
        self._session: Session | None = None
        self._asked = 0.0

    def wait(self, seconds: float) -> bool:
        return self._server.translated(lambda: self._wait(seconds))

    def _wait(self, seconds: float) -> bool:
        try:
            if self._session is None:
                self._session = self._connect()
                return True  # whatever was committed before
            if self._heard:
                self._rest_no_more(self._session)
            self._heard = self._hear(self._session, seconds if self._rests else _RESTLESS)
        except BaseException:
            self.close()
            raise
        return self._heard

    def rest(self) -> bool:
        key = self._lock()
        return self._server.translated(lambda: self._rest(key))

    def _rest(self, key: int) -> bool:
        try:
            if self._session is None:
                self._session = self._connect()
            if not self._rests:
                ((self._rests,),) = self._session.execute(SQL["rest"], [key]).fetchall()
        except BaseException:
            self.close()
            raise
        return self._rests

    def _rest_no_more(self, session: Session) -> None:
        if self._rests:
            session.execute(SQL["rest_no_more"])
        self._rests = self._heard = False

    def _connect(self) -> Session:
        session = self._server.connect()
        with suppress(psycopg.DataError, psycopg.NotSupportedError):
            session.execute(SQL["give_up_lost_clients"], [_GIVEN_UP_AFTER] * 2)
        session.execute(_LISTEN)
        self._asked = time.monotonic()
        return session

    def _hear(self, session: Session, seconds: float) -> bool:
        if self._is_named(session):
            return True
        with selectors.DefaultSelector() as selector:  # for `select` takes no socket above 1,023
            selector.register(session.pgconn.socket, selectors.EVENT_READ)
            readable = selector.select(seconds)
        if not readable:
            return self._ask(session)
        session.pgconn.consume_input()
        return self._is_named(session)

    def _is_named(self, session: Session) -> bool:
        """True if a notice that has come is for this namespace. All that have come are read."""
        named = False
        while (notice := session.pgconn.notifies()) is not None:
            named = named or notice.extra.decode() == self._payload
        return named

    def _ask(self, session: Session) -> bool:
        """Find out, now and then, if the server is there: one that is not sends no notice.

        True if so, for psycopg drops the notices that come with an answer.
        """
        is_time = time.monotonic() - self._asked >= _ALIVE_EVERY
        if is_time:
            session.execute("SELECT 1")
            self._asked = time.monotonic()
        return is_time

    def close(self) -> None:
        session, self._session = self._session, None
        self._rests = self._heard = False
        if session is not None:
            try:
                session.close()
            except psycopg.Error as error:
                raise StorageError(str(error)) from error
