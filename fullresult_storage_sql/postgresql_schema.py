"""Brings a PostgreSQL database to the newest schema."""

from __future__ import annotations

import time

import psycopg
from psycopg import errors

from fullresult.storage import StorageError
from fullresult_storage_sql import statements
from fullresult_storage_sql.postgresql_server import Server
from fullresult_storage_sql.postgresql_session import Session
from fullresult_storage_sql.postgresql_statements import SQL

_SETUP_LOCK = 7310293058
LARGE = 64 * 1024 * 1024
"""Bytes of a table from which an index on it is built beside its writers, and by `setup` alone."""
_LOCK_MILLISECONDS = 1000
"""For which writers may have to wait behind `setup`, each time it tries to get a lock."""
_PAUSE = 1.0


class Schema:
    """The tables of one database, as numbered migrations make them."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def migrate(self, *, patient: bool) -> None:
        version = self._server.run(self._version)
        if patient:
            if version < statements.newest("postgresql"):
                self._upgrade_patiently()
            self._server.run(self._build_indexes)
        elif version < statements.newest("postgresql"):
            self._refuse_if_it_takes_long(version)
            self._server.run(self._upgrade_in_time)

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

    def _refuse_if_it_takes_long(self, version: int) -> None:
        late = [
            index
            for _, sql in statements.pending("postgresql", version)
            for index in statements.new_indexes(sql)
        ]
        if late and self._server.run(lambda session: _large(session, late)):
            raise StorageError(
                f"{self._server!r}: its schema is old, and its tables are too large to be changed "
                "in passing; run `celery -A proj fullresult setup`"
            )

    def _upgrade_patiently(self) -> None:
        """Wait for other upgrades, and for a moment at which nobody has the tables locked."""
        while not self._server.run(self._upgrade):
            time.sleep(_PAUSE)

    def _upgrade(self, session: Session) -> bool:
        try:
            with session.transaction(), self._server.waiting(session, None):
                session.execute(f"SET LOCAL lock_timeout = {_LOCK_MILLISECONDS}")
                self._upgrade_locked(session)
        except errors.LockNotAvailable:
            return False
        return True

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
        for number, sql in statements.pending("postgresql", version):
            late = statements.new_indexes(sql) if version else []
            for index in _large(session, late):
                sql = sql.replace(index.create, "")  # noqa: PLW2901  (built afterwards)
            session.execute(sql.encode())
            session.execute("INSERT INTO fullresult_schema (version) VALUES (%s)", [number])

    def _build_indexes(self, session: Session) -> None:
        """Build those that are missing or were not finished, beside writers."""
        for index in statements.late_indexes("postgresql"):
            while not self._is_built(session, index):
                time.sleep(_PAUSE)

    def _is_built(self, session: Session, index: statements.Index) -> bool:
        row = session.execute(SQL["state_of_index"], [index.name]).fetchone()
        state = row[0] if row else "missing"
        if state == "unfinished":
            self._run_unlimited(session, f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}")
        if state in {"unfinished", "missing"}:
            how = "CREATE INDEX CONCURRENTLY IF NOT EXISTS "
            self._run_unlimited(session, index.create.replace("CREATE INDEX ", how, 1))
        return state == "ready"

    def _run_unlimited(self, session: Session, statement: str) -> None:
        with self._server.unlimited(session):
            session.execute(statement.encode())


def _large(session: Session, indexes: list[statements.Index]) -> list[statements.Index]:
    """Those of *indexes* whose tables are large."""
    names = list({index.table for index in indexes})
    large = {row[0] for row in session.execute(SQL["large_tables"], [names, LARGE])}
    return [index for index in indexes if index.table in large]
