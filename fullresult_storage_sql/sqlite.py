"""What is SQLite's own: the file, its connections, migrations and how it asks for JSON."""

from __future__ import annotations

import json
import logging
import math
import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path as File
from typing import Any, Literal, TypeVar

from fullresult.record import TaskRecord
from fullresult.record.schedule import Schedule
from fullresult.storage import Refused, StorageError, TaskQuery
from fullresult.storage.indexes import OPEN
from fullresult_storage_sql import globs, queries, rows, statements
from fullresult_storage_sql.connections import Connections
from fullresult_storage_sql.queries import Condition, Path
from fullresult_storage_sql.results import Joining
from fullresult_storage_sql.sqlite_turns import in_turn
from fullresult_storage_sql.sqlite_updates import Updates

T = TypeVar("T")
logger = logging.getLogger(__name__)

OLDEST = (3, 35, 0)
SYNCHRONOUS = ("OFF", "NORMAL", "FULL", "EXTRA")
"""How long a commit waits for the disk. Unless the URL says: as with FULL, but where it may not."""
_REFUSALS = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    UnicodeError,
    OverflowError,
)
_LONGEST_LOG = 4000
"""Pages until the log is written back: 16 MB. A page that many events change then is so once."""
_SQL = statements.read("sqlite.sql")
_ENDED = statements.ended(_SQL)
_WRITES = {stored: statements.write(_SQL, message=True, stored=stored) for stored in (True, False)}
_UPDATES = Updates(_SQL)


class Session(sqlite3.Connection):
    """A connection that remembers how long its commits wait for the disk."""

    owner = 0
    has_log = False
    """Whether what is committed goes to a log beside the file, as in WAL mode."""
    _synchronous = ""
    _log: int | None = None

    def survives(self, error: BaseException) -> bool:
        return isinstance(error, _REFUSALS) and not self.in_transaction

    def wait_for_disk(self, synchronous: str) -> None:
        if self._synchronous != synchronous:
            self.execute(f"PRAGMA synchronous = {synchronous}")
            self._synchronous = synchronous

    def flush(self) -> None:
        """Wait until what was committed is on the disk. Raises OSError.

        The same as a commit with `synchronous = FULL` does, but nobody waits for it who wants to
        write meanwhile, and the setting, which costs more than what it sets, stays as it is.
        """
        if self._log is None:
            _, _, file = self.execute("PRAGMA database_list").fetchone()
            self._log = os.open(f"{file}-wal", os.O_RDWR)
        # Not everywhere.
        getattr(os, "fdatasync", os.fsync)(self._log)

    def close(self) -> None:
        super().close()
        log, self._log = self._log, None
        if log is not None:
            os.close(log)

    def __del__(self) -> None:
        # Else Python 3.13 warns of a connection left open. Ours are meant to end with the process.
        with suppress(sqlite3.Error):
            self.close()


class SQLite:
    """One SQLite file, in WAL mode. Needs SQLite 3.35 or newer."""

    placeholder = "?"
    sql = _SQL

    def __init__(
        self,
        file: File,
        *,
        timeout: timedelta,
        synchronous: str | None = None,
        index_kwargs: Sequence[str] = (),
    ) -> None:
        self._file = file
        self._timeout = timeout.total_seconds()
        self._synchronous = synchronous
        self._index_kwargs = index_kwargs
        # SQLite counts its locks per process: a child that inherits them takes its parent's for its
        # own, and loses what it writes when the parent closes the file.
        self._connections: Connections[Session] = Connections(self._connect, close_before_fork=True)

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
            timeout=0,  # see `turns`
            isolation_level=None,
            check_same_thread=False,
            factory=Session,
        )
        try:
            switch = partial(session.execute, "PRAGMA journal_mode = WAL")
            session.has_log = in_turn(session, switch, self._timeout).fetchone() == ("wal",)
            session.execute(f"PRAGMA wal_autocheckpoint = {_LONGEST_LOG}")
        except BaseException:
            session.close()
            raise
        return session

    def _create(self) -> None:
        """An empty file that only its owner can read, where there is none yet."""
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

    def ask(self, sql: str, values: Sequence[Any]) -> list[Sequence[Any]]:
        return self._run(lambda session: session.execute(sql, values).fetchall())

    def write(self, events: Sequence[TaskRecord]) -> list[str]:
        def all_of_them(session: Session) -> list[str]:
            durable = self._synchronous is None and not all(map(rows.may_wait, events))
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
        answer = session.execute(_WRITES[kind.stored], values).fetchall()
        return [event.task_id] if answer[0][0] else []

    def _write_all(self, session: Session, events: Sequence[TaskRecord]) -> list[str]:
        with _transaction(session):
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
        # The file is here: there is nothing to wait for that could be waited for elsewhere.
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
        """A transaction that is on the disk when it ends, whatever the URL says of others."""
        session.wait_for_disk("EXTRA" if self._synchronous == "EXTRA" else "FULL")
        with _transaction(session):
            yield

    def delete(self, found: str, values: Sequence[Any]) -> int:
        def both(session: Session) -> int:
            with _transaction(session):
                session.execute(self.sql["delete_entries"].format(found=found), values)
                deleted = session.execute(self.sql["delete"].format(found=found), values)
                return len(deleted.fetchall())

        return self._run(both)

    def delete_expired(self, now: datetime, limit: int) -> int:
        expired = [rows.date_text(now), max(limit, 0)]

        def all_of_them(session: Session) -> int:
            found = self.sql["expired"]
            with _transaction(session):
                session.execute(self.sql["delete_entries"].format(found=found), expired)
                deleted = session.execute(self.sql["delete"].format(found=found), expired)
                count = len(deleted.fetchall())
                session.execute(self.sql["delete_expired_groups"], expired)
                chords = session.execute(self.sql["delete_expired_chords"], expired).fetchall()
                gone = self.many([row[0] for row in chords])
                session.execute(self.sql["forget_members"], [gone])
            return count

        return self._run(all_of_them)

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
            with _transaction(session):
                return self._join(session, joining)

        return self._run(join)

    def _join(self, session: Session, joining: Joining) -> bool:
        chord_id, member, size, expires, call = joining
        if session.execute(self.sql["add_member"], [chord_id, member]).fetchall():
            counted = [chord_id, call, expires, size, size]
            answer = session.execute(self.sql["join_chord"], counted).fetchall()
        else:
            known = [call, size, chord_id]
            answer = session.execute(self.sql["completed_by"], known).fetchall()
        return answer == [(1,)]

    def write_and_join(self, event: TaskRecord, joining: Joining) -> tuple[list[str], bool]:
        def both(session: Session) -> tuple[list[str], bool]:
            session.wait_for_disk(self._synchronous or "FULL")
            with _transaction(session):
                return self._write_events(session, [event]), self._join(session, joining)

        return self._run(both)

    def forget_chord(self, chord_id: str) -> None:
        def both(session: Session) -> None:
            session.wait_for_disk(self._synchronous or "FULL")
            with _transaction(session):
                session.execute(self.sql["forget_chord"], [chord_id])
                session.execute(self.sql["forget_members"], [self.many([chord_id])])

        self._run(both)

    def migrate(self, *, patient: bool) -> None:  # noqa: ARG002
        # SQLite waits for a lock no longer than the timeout, whoever asks.
        self._run(self._upgrade)

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
        with _transaction(session):
            session.execute(self.sql["create_schema"])
            version = self._version(session)
            for number, sql in statements.migrations("sqlite"):
                if number > version:
                    for statement in _split(sql):
                        session.execute(statement)
                    session.execute("INSERT INTO fullresult_schema (version) VALUES (?)", [number])
            for sql in indexes:
                session.execute(sql)

    def close(self) -> None:
        self._connections.close()

    def _run(self, do: Callable[[Session], T]) -> T:
        try:
            return self._connections.use(
                lambda session, _: in_turn(session, lambda: do(session), self._timeout)
            )
        except _REFUSALS as error:
            raise Refused(f"{self!r}: {error}") from error
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"{self!r}: {error}") from error

    def json_index(self, query: TaskQuery) -> Literal["in order"] | None:
        indexed = not set(query.kwargs or ()).isdisjoint(self._index_kwargs)
        return "in order" if indexed else None

    def name_like(self, pattern: str) -> Condition:
        return "t.name GLOB ?", [globs.as_glob(pattern)]

    def contains(self, column: str, value: Any) -> Iterator[Condition]:
        return self.item_is(column, (), value)

    def item_is(self, column: str, path: Path, value: Any) -> Iterator[Condition]:
        for inner, leaf in queries.leaves(value):
            yield self._at(column, (*path, *inner), leaf)

    def _at(self, column: str, path: Path, value: Any) -> Condition:
        """What is at *path* in the JSON of *column* is *value*."""
        if not any(isinstance(step, str) and '"' in step for step in path):
            where = _literal(_json_path(path))
            return _is(f"json_type({column}, {where})", f"json_extract({column}, {where})", value)
        condition, values = _is("e.type", "e.value", value)
        sql = self.sql["json_at"].format(column=column, condition=condition)
        return sql, [_json_with(path), *values]

    def any_of(self, column: str, values: list[str]) -> Condition:
        return f"{column} IN ({', '.join('?' * len(values))})", list(values)

    def in_buckets(self, buckets: list[str]) -> Condition:
        # Word for word what the indexes say, each of which has only its own.
        if buckets == [OPEN]:
            return "t.open = 1", []
        others = [bucket for bucket in buckets if bucket != OPEN]
        sql, values = self.any_of("t.bucket", others)
        found = f"t.bucket <> '{OPEN}' AND {sql}"
        return (found if others == buckets else f"t.open = 1 OR ({found})"), values

    def none_of(self, column: str, values: list[str]) -> Condition:
        return f"{column} NOT IN ({', '.join('?' * len(values))})", list(values)

    def has_text(self, columns: tuple[str, ...], text: str) -> Condition:
        pattern = queries.like(text)
        sql = " OR ".join(f"{column} LIKE ? ESCAPE '\\'" for column in columns)
        return sql, [pattern] * len(columns)


def index_sql(key: str) -> str:
    """The statement that indexes the keyword argument *key* (`fullresult_index_kwargs`)."""
    name = f"fullresult_kwarg_{key}".replace('"', '""')
    where = _literal(_json_path((key,)))
    return (
        f'CREATE INDEX IF NOT EXISTS "{name}" ON fullresult_task '
        f"(json_extract(kwargs, {where}), date_created, task_id)"
    )


def _is(kind: str, found: str, value: Any) -> Condition:
    """The JSON value whose type and value are given as SQL is *value*."""
    if value is None:
        return f"{kind} = 'null'", []
    if isinstance(value, bool):
        # The value, too: an index knows nothing of types.
        return f"{found} = ? AND {kind} = ?", [int(value), json.dumps(value)]
    if isinstance(value, dict):
        return f"{kind} = 'object'", []
    if isinstance(value, list):
        sql = SQLite.sql["json_list_is"].format(kind=kind, found=found)
        return sql, [json.dumps(value)] * 2
    if isinstance(value, str):
        return f"{found} = ? AND {kind} = 'text'", [value]
    return f"{found} = ? AND {kind} IN ('integer', 'real')", [_number(value)]


def _number(value: float) -> float:
    """*value* as SQLite reads it in JSON."""
    if -(2**63) <= value < 2**63:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _json_with(path: Path) -> str:
    """JSON whose last and innermost value is at *path*."""
    value: Any = None
    for step in reversed(path):
        value = {step: value} if isinstance(step, str) else [None] * step + [value]
    return json.dumps(value)


def _json_path(path: Path) -> str:
    steps = (f"[{s}]" if isinstance(s, int) else "." + json.dumps(s) for s in path)
    return "$" + "".join(steps)


def _literal(text: str) -> str:
    """SQL text: an index on an expression is found by the same expression, not by a parameter."""
    return "'" + text.replace("'", "''") + "'"


def _split(sql: str) -> list[str]:
    return [statement for statement in sql.split(";\n") if statement.strip()]


@contextmanager
def _transaction(session: Session) -> Iterator[None]:
    session.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        session.execute("ROLLBACK")
        raise
    session.execute("COMMIT")
