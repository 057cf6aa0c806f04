"""Brings a PostgreSQL database to the newest schema."""

from __future__ import annotations

import psycopg

from fullresult.storage import StorageError
from fullresult_storage_sql import statements
from fullresult_storage_sql.postgresql_server import Server
from fullresult_storage_sql.postgresql_session import Session
from fullresult_storage_sql.postgresql_statements import SQL

_SETUP_LOCK = 7310293058


class Schema:
    """The tables of one database, as numbered migrations make them."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def migrate(self, *, patient: bool) -> None:
        if self._server.run(self._version) < statements.newest("postgresql"):
            self._server.run(self._upgrade if patient else self._upgrade_in_time)

    def check(self) -> None:
        if self._server.run(self._version) < statements.newest("postgresql"):
            raise StorageError(
                f"{self._server!r}: its schema is missing or old, and fullresult_auto_setup is "
                "False; run `celery -A proj fullresult setup`, or what `setup --sql` prints"
            )

    def _version(self, session: Session) -> int:
        row = session.execute("SELECT to_regclass('fullresult_schema')").fetchone()
        if row is None or row[0] is None:
            return 0
        row = session.execute("SELECT max(version) FROM fullresult_schema").fetchone()
        return int(row[0] or 0) if row else 0

    def _upgrade(self, session: Session) -> None:
        # Another process may be building an index.
        with session.transaction(), self._server.waiting(session, None):
            self._upgrade_locked(session)

    def _upgrade_in_time(self, session: Session) -> None:
        # A little less than the deadline, so that the server gives up first.
        milliseconds = max(1, int(self._server.timeout * 900))
        try:
            with session.transaction():
                session.execute(f"SET LOCAL lock_timeout = {milliseconds}")
                self._upgrade_locked(session)
        except psycopg.OperationalError as error:
            if session.broken:
                raise
            raise StorageError(
                f"{self._server!r}: {error}; another process may be upgrading the schema: "
                "wait for it, or run `celery -A proj fullresult setup`"
            ) from error

    def _upgrade_locked(self, session: Session) -> None:
        session.execute("SELECT pg_advisory_xact_lock(%s)", [_SETUP_LOCK])
        session.execute(SQL["create_schema"])
        version = self._version(session)
        for number, sql in statements.migrations("postgresql"):
            if number > version:
                session.execute(sql)
                session.execute("INSERT INTO fullresult_schema (version) VALUES (%s)", [number])
