"""Hears of commits into the outbox by PostgreSQL's NOTIFY, on a connection of its own."""

from __future__ import annotations

import selectors
import time

import psycopg

from fullresult.storage import StorageError
from fullresult_storage_sql.outbox_statements import payload_of
from fullresult_storage_sql.postgresql_server import Server
from fullresult_storage_sql.postgresql_session import Session

_LISTEN = "LISTEN fullresult"
_ALIVE_EVERY = 30.0
"""Seconds after which a silent server is asked if it is there."""


class PostgreSQLListener:
    """`fullresult.storage.CommitListener`."""

    def __init__(self, server: Server, namespace: str) -> None:
        self._server = server
        self._payload = payload_of(namespace)
        self._session: Session | None = None
        self._asked = 0.0

    def wait(self, seconds: float) -> bool:
        return self._server.translated(lambda: self._wait(seconds))

    def _wait(self, seconds: float) -> bool:
        try:
            if self._session is None:
                self._session = self._connect()
                return True  # whatever was committed before
            return self._hear(self._session, seconds)
        except BaseException:
            self.close()
            raise

    def _connect(self) -> Session:
        session = self._server.connect()
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
            self._ask(session)
            return False
        session.pgconn.consume_input()
        return self._is_named(session)

    def _is_named(self, session: Session) -> bool:
        """True if a notice that has come is for this namespace. All that have come are read."""
        named = False
        while (notice := session.pgconn.notifies()) is not None:
            named = named or notice.extra.decode() == self._payload
        return named

    def _ask(self, session: Session) -> None:
        """Find out, now and then, if the server is there: one that is not sends no notice."""
        if time.monotonic() - self._asked >= _ALIVE_EVERY:
            session.execute("SELECT 1")
            self._asked = time.monotonic()

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            try:
                session.close()
            except psycopg.Error as error:
                raise StorageError(str(error)) from error
