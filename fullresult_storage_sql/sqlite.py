"""SQLite: how each method of `Database` is done in one file.

Long because that protocol is one: every method is here, most of them in a few lines.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path as File
from typing import Any, TypeVar

from fullresult.record import Schedule, TaskRecord
from fullresult.storage import Refused, StorageError, may_wait
from fullresult_storage_sql import rows, statements
from fullresult_storage_sql.connections import Connections
from fullresult_storage_sql.database import Joining
from fullresult_storage_sql.expired_results import expired_results
from fullresult_storage_sql.sqlite_conditions import SQL, Conditions, index_sql
from fullresult_storage_sql.sqlite_home import Home
from fullresult_storage_sql.sqlite_replays import TakesForReplays
from fullresult_storage_sql.sqlite_session import REFUSALS, Session, transaction
from fullresult_storage_sql.sqlite_turns import GaveWay, in_turn, is_busy
from fullresult_storage_sql.sqlite_updates import Updates

T = TypeVar("T")
V = TypeVar("V")
logger = logging.getLogger(__name__)

OLDEST = (3, 35, 0)
SYNCHRONOUS = ("OFF", "NORMAL", "FULL", "EXTRA")
"""Values of `PRAGMA synchronous`. Unless the URL names one: NORMAL for publishes and starts, FULL
for the rest."""
LARGE = 64 * 1024 * 1024
"""Bytes of a file from which only `setup` makes an index: nobody else can write meanwhile."""
_LONGEST_LOG = 4000
"""Pages, 16 MB, after which the log is written back: a page that many events change is written
once."""
_WHY_BUSY = ": another connection writes to it; is that this process's own, in a transaction?"
_ENDED = statements.ended(SQL)
_WRITES = {
    kind: statements.write(SQL, kind, statements.one(kind, "?"))
    for kind in rows.KINDS
    if kind.message
}
_UPDATES = Updates(SQL)


class SQLite(Conditions, Home, TakesForReplays):
    """One SQLite file, in WAL mode. Needs SQLite 3.35 or newer."""

    def __init__(
        self,
        file: File,
        *,
        timeout: timedelta,
        pool_size: int,
        synchronous: str | None = None,
        index_kwargs: Sequence[str] = (),
    ) -> None:
        self._file = file
        self._timeout = timeout.total_seconds()
        self._synchronous = synchronous
        self._index_kwargs = index_kwargs
        # SQLite counts its locks per process: a child that inherits them takes its parent's for its
        # own, and loses what it writes when the parent closes the file.
        self._connections: Connections[Session] = Connections(
            self._connect, size=pool_size, timeout=self._timeout, close_before_fork=True
        )

    def __repr__(self) -> str:
        return f"sqlite:///{self._file}"

    def _connect(self) -> Session:
        if sqlite3.sqlite_version_info < OLDEST:
            raise StorageError(
                f"{self!r}: Python has SQLite {sqlite3.sqlite_version}; fullresult needs "
                f"{'.'.join(map(str, OLDEST))} or newer"
            )
        self._create()
        session = sqlite3.connect(
            self._file,
            timeout=0,  # `in_turn` waits instead
            isolation_level=None,
            check_same_thread=False,
            factory=Session,
        )
        try:
            switch = partial(session.execute, "PRAGMA journal_mode = WAL")
            switched = self._in_turn(session, switch, self._timeout)
            session.has_log = switched.fetchone() == ("wal",)
            session.execute(f"PRAGMA wal_autocheckpoint = {_LONGEST_LOG}")
        except BaseException:
            session.close()
            raise
        return session

    def _create(self) -> None:
        """Create the file, readable by its owner alone, if there is none yet."""
        try:
            os.close(os.open(self._file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return
        except OSError as error:
            raise StorageError(
                f"{self!r}: cannot create the file: {error.strerror}; its directory must exist and "
                "be writable"
            ) from error
        logger.info("fullresult: records are kept in %s", self._file)

    def missing_file(self) -> str | None:
        return None if os.path.lexists(self._file) else str(self._file)

    def ask(self, sql: str, values: Sequence[Any]) -> list[Sequence[Any]]:
        return self._run(lambda session: session.execute(sql, values).fetchall())

    def write(self, events: Sequence[TaskRecord]) -> list[str]:
        def all_of_them(session: Session) -> list[str]:
            durable = self._synchronous is None and not all(map(may_wait, events))
            relaxed = session.has_log or not durable
            session.wait_for_disk(self._synchronous or ("NORMAL" if relaxed else "FULL"))
            if len(events) == 1 and not events[0].entries:
                lacking = self._write_one(session, events[0])
            else:
                lacking = self._write_all(session, events)
            if durable and session.has_log:
                session.flush()
            return lacking

        return self._run(all_of_them)

    def _write_one(self, session: Session, event: TaskRecord) -> list[str]:
        update = _UPDATES.of(event)
        if update is not None and session.execute(*update).rowcount:
            return []
        kind = rows.kind_of(event)._replace(message=True)
        values = rows.natives(rows.values(event, kind))
        answer = session.execute(_WRITES[kind], values).fetchall()
        return [event.task_id] if answer[0][0] and event.message is None else []

    def _write_all(self, session: Session, events: Sequence[TaskRecord]) -> list[str]:
        with transaction(session):
            return self._write_events(session, events)

    def _write_events(self, session: Session, events: Sequence[TaskRecord]) -> list[str]:
        lacking = []
        for event in events:
            lacking += self._write_one(session, event)
            if event.entries:
                entries = rows.entries_json(event.entries)
                session.execute(self.sql["entries"], [event.task_id, entries])
        return lacking

    def begin_write(self, event: TaskRecord) -> Callable[[], list[str]]:
        # The file is local: there is no round trip to overlap with the broker's.
        lacking = self.write((event,))
        return lambda: lacking

    def change(
        self, sql: str, values: Sequence[Any], event: TaskRecord | None = None
    ) -> list[Sequence[Any]]:
        def both(session: Session) -> list[Sequence[Any]]:
            with self._durable(session):
                answer = session.execute(sql, values).fetchall()
                if answer and event is not None:
                    self._write_events(session, [event])
            return answer

        return self._run(both)

    def schedule(self, schedule: Schedule, event: TaskRecord) -> None:
        def both(session: Session) -> None:
            with self._durable(session):
                session.execute(self.sql["schedule"], rows.schedule_parameters(schedule))
                self._write_events(session, [event])

        self._run(both)

    def claim_due(
        self, namespace: str, now: datetime, claim: str, limit: int
    ) -> list[Sequence[Any]]:
        due = rows.date_text(now)
        return self.change(self.sql["claim_due"], [claim, due, namespace, due, limit])

    def mark_sent(
        self, claim: str, schedule_ids: Collection[str], events: Sequence[TaskRecord]
    ) -> list[str]:
        def both(session: Session) -> list[str]:
            with self._durable(session):
                closed = session.execute(self.sql["close"], [claim, self.many(schedule_ids)])
                ids = [row[0] for row in closed]
                self._write_events(session, events)
            return ids

        return self._run(both)

    def next_due(self, namespace: str) -> list[Sequence[Any]]:
        return self.ask(self.sql["next_due"], [namespace])

    def many(self, ids: Collection[str]) -> str:
        return json.dumps(list(ids), ensure_ascii=False)

    @contextmanager
    def _durable(self, session: Session) -> Iterator[None]:
        """A transaction that is on the disk when it ends, whatever the URL's option."""
        session.wait_for_disk("EXTRA" if self._synchronous == "EXTRA" else "FULL")
        with transaction(session):
            yield

    def delete(self, found: str, values: Sequence[Any]) -> int:
        def both(session: Session) -> int:
            with transaction(session):
                session.execute(self.sql["delete_entries"].format(found=found), values)
                deleted = session.execute(self.sql["delete"].format(found=found), values)
                return len(deleted.fetchall())

        return self._run(both)

    def delete_expired(self, now: datetime, limit: int) -> int:
        expired = [rows.date_text(now), max(limit, 0)]

        def all_of_them(session: Session) -> int:
            found = self.sql["expired"]
            with transaction(session):
                session.execute(self.sql["delete_entries"].format(found=found), expired)
                deleted = session.execute(self.sql["delete"].format(found=found), expired)
                return len(deleted.fetchall())

        return self._run(all_of_them)

    def delete_expired_results(self, now: datetime, limit: int) -> bool:
        def some_of_them(session: Session) -> bool:
            def ask(sql: str, values: Sequence[Any]) -> list[Sequence[Any]]:
                return session.execute(sql, values).fetchall()

            with transaction(session):
                return expired_results(self, ask, now, limit)

        return self._run(some_of_them)

    def forget_audit(self, until: str, limit: int) -> int:
        def forget(session: Session) -> int:
            with transaction(session):
                session.execute(self.sql["forget_audited_tasks"], [until, limit])
                return len(session.execute(self.sql["forget_audit"], [until, limit]).fetchall())

        return self._run(forget)

    def get_results(self, task_ids: Collection[str]) -> list[Sequence[Any]]:
        return self.ask(self.sql["get_results"], [self.many(task_ids)])

    def get_ended(self, task_ids: Collection[str], *, messages: bool) -> list[Sequence[Any]]:
        return self.ask(_ENDED[messages], [self.many(task_ids)])

    def get_successes(self, task_ids: Collection[str]) -> list[Sequence[Any]]:
        return self.ask(self.sql["get_successes"], [self.many(task_ids)])

    def keep(self, sql: str, values: Sequence[Any]) -> list[Sequence[Any]]:
        def run(session: Session) -> list[Sequence[Any]]:
            session.wait_for_disk(self._synchronous or "FULL")
            return session.execute(sql, values).fetchall()

        return self._run(run)

    def join_chord(self, joining: Joining) -> bool:
        def join(session: Session) -> bool:
            session.wait_for_disk(self._synchronous or "FULL")
            with transaction(session):
                return self._join(session, joining)

        return self._run(join)

    def _join(self, session: Session, joining: Joining) -> bool:
        member = [joining.chord_id, joining.member]
        if session.execute(self.sql["add_member"], member).fetchall():
            answer = session.execute(self.sql["join_chord"], joining._asdict()).fetchall()
        else:
            known = [joining.call, joining.chord_id]
            answer = session.execute(self.sql["completed_by"], known).fetchall()
        return answer == [(1,)]

    def write_and_join(self, event: TaskRecord, joining: Joining) -> tuple[list[str], bool]:
        def both(session: Session) -> tuple[list[str], bool]:
            session.wait_for_disk(self._synchronous or "FULL")
            with transaction(session):
                return self._write_events(session, [event]), self._join(session, joining)

        return self._run(both)

    def begin_chord(self, chord_id: str, size: int | None, body: str, expires: str | None) -> int:
        def begin(session: Session) -> int:
            session.wait_for_disk(self._synchronous or "FULL")
            with transaction(session):
                session.execute(self.sql["keep_body"], [chord_id, body])
                known = [chord_id, size, expires]
                ((run,),) = session.execute(self.sql["begin_chord"], known).fetchall()
                return int(run)

        return self._run(begin)

    def add_to_chord(self, chord_id: str, added: str, expires: str | None) -> None:
        def add(session: Session) -> None:
            session.wait_for_disk(self._synchronous or "FULL")
            with transaction(session):
                if session.execute(self.sql["add_member"], [chord_id, added]).fetchall():
                    session.execute(self.sql["add_to_chord"], [chord_id, expires])

        self._run(add)

    def migrate(self, *, patient: bool) -> None:
        # SQLite waits for a lock no longer than the timeout, whoever asks.
        if not patient:
            self._run(self._refuse_if_it_takes_long)
        self._run(self._upgrade)

    def _refuse_if_it_takes_long(self, session: Session) -> None:
        version = self._version(session)
        pending = statements.pending("sqlite", version)
        late = any(statements.new_indexes(sql) for _, sql in pending)
        if version and late and self._file.stat().st_size >= LARGE:
            raise StorageError(
                f"{self!r}: its schema is old, and it is too large to be changed in passing; "
                "run `celery -A proj fullresult setup`"
            )

    def check(self) -> None:
        if self._run(self._version) < statements.newest("sqlite"):
            raise StorageError(
                f"{self!r}: its schema is missing or old, and fullresult_auto_setup is False; "
                "run `celery -A proj fullresult setup`, or what `setup --sql` prints"
            )

    def _version(self, session: Session) -> int:
        tables = "SELECT 1 FROM sqlite_master WHERE name = 'fullresult_schema'"
        if not session.execute(tables).fetchone():
            return 0
        return int(
            session.execute("SELECT coalesce(max(version), 0) FROM fullresult_schema").fetchone()[0]
        )

    def _upgrade(self, session: Session) -> None:
        indexes = [index_sql(key) for key in self._index_kwargs]
        if self._version(session) == statements.newest("sqlite") and not indexes:
            return
        with transaction(session):
            session.execute(self.sql["create_schema"])
            version = self._version(session)
            for number, sql in statements.pending("sqlite", version):
                for statement in _split(sql):
                    session.execute(statement)
                session.execute("INSERT INTO fullresult_schema (version) VALUES (?)", [number])
            for sql in indexes:
                session.execute(sql)

    def close(self) -> None:
        self._connections.close()

    def keep_no_connection(self) -> None:
        """Close each connection after its use: the file may be deleted at any time."""
        self._connections.keeps_idle = False

    def _run(self, do: Callable[[Session], T]) -> T:
        end = time.monotonic() + self._timeout

        def once(session: Session, _: bool) -> T:
            return self._in_turn(session, lambda: do(session), end - time.monotonic())

        try:
            while True:
                with suppress(GaveWay):
                    return self._connections.use(once)
        except REFUSALS as error:
            raise Refused(f"{self!r}: {error}") from error
        except (sqlite3.Error, OSError) as error:
            busy = isinstance(error, sqlite3.OperationalError) and is_busy(error)
            raise StorageError(f"{self!r}: {error}{_WHY_BUSY if busy else ''}") from error

    def _in_turn(self, session: Session, do: Callable[[], V], timeout: float) -> V:
        return in_turn(session, do, timeout, lambda: self._connections.fork_waits)


def _split(sql: str) -> list[str]:
    return [statement for statement in sql.split(";\n") if statement.strip()]
