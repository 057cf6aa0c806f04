"""What is PostgreSQL's own: connections, errors, migrations and how it asks for JSON."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal, TypeVar

import psycopg
from psycopg import RawCursor, errors

from fullresult.config import without_password
from fullresult.record import TaskRecord
from fullresult.record.merging import fold
from fullresult.record.schedule import Schedule
from fullresult.storage import Refused, StorageError, TaskQuery, Uncertain
from fullresult_storage_sql import globs, queries, rows, statements
from fullresult_storage_sql.connections import Connections
from fullresult_storage_sql.due_edges import START, Edges, Position
from fullresult_storage_sql.postgresql_session import REFUSALS, Session
from fullresult_storage_sql.queries import Condition, Path
from fullresult_storage_sql.results import Joining
from fullresult_storage_sql.rows import Kind, Parameter

T = TypeVar("T")

_OLDEST = 14
_SETUP_LOCK = 7310293058
_SKIPPING = 600.0
"""Seconds in which a purge may find where it is to begin: the index leads to what was deleted, too,
until it is vacuumed, and after ten million rows that takes longer than anything else may."""
_SQL = statements.read("postgresql.sql")


Statements = dict[tuple[Kind, bool], str]
"""By the kind of event, and by whether there are entries."""


def _writes(relaxed: str) -> Statements:
    """The statement for an event."""
    return {
        (kind, has_entries): statements.numbered(
            (_SQL["entries"] + "\n" if has_entries else "") + _write(kind) + relaxed
        )
        for kind, has_entries in _EACH
    }


def _batches() -> Statements:
    """The same for many events at once: it answers each id, and whether a message is lacking."""
    return {
        (kind, has_entries): statements.numbered(
            (_SQL["batch_entries"] + "\n" if has_entries else "") + _for_many(kind)
        )
        for kind, has_entries in _EACH
    }


def _for_many(kind: Kind) -> str:
    of_each = ", ".join(
        f"(e.{name} #>> '{{}}')::{rows.JSON[name]}" if name in rows.JSON else f"e.{name}"
        for name in rows.columns(kind)
    )
    before, _, after = _write(kind).partition("VALUES (")
    _, _, after = after.partition("\n)\n")
    values = _SQL["batch"].format(columns=of_each)
    return f"{before}{values}\n{after}".replace("RETURNING ", "RETURNING t.task_id, ")


def _schedules() -> Statements:
    """The same with a schedule, durable whatever the defaults."""
    return {
        (kind, has_entries): statements.numbered(
            (_SQL["entries"] + ", " if has_entries else "WITH ")
            + _SQL["schedule"]
            + "\n"
            + _write(kind)
            + f", ({_SQL['durable']})"
        )
        for kind, has_entries in _EACH
    }


def _ends_of_members() -> Statements:
    """The same with a member that joins a chord; it answers for both."""
    return {
        (kind, has_entries): statements.numbered(
            (_SQL["entries"] + ", " if has_entries else "WITH ")
            + _SQL["write_and_join"].format(joining=_SQL["joining"], write=_write(kind))
        )
        for kind, has_entries in _EACH
    }


def _write(kind: Kind) -> str:
    return statements.write(_SQL, message=kind.message, stored=kind.stored)


_EACH = [(kind, has_entries) for kind in rows.KINDS for has_entries in (True, False)]
_WRITES = _writes("")
# In RETURNING it costs no round trip of its own.
_RELAXED_WRITES = _writes(", set_config('synchronous_commit', 'off', true)")
_BATCHES = _batches()
_SCHEDULES = _schedules()
_ENDS_OF_MEMBERS = _ends_of_members()
_RESULTS = statements.numbered(_SQL["get_results"])
_ENDED = {key: statements.numbered(sql) for key, sql in statements.ended(_SQL).items()}
_SUCCESSES = statements.numbered(_SQL["get_successes"])
_COMPLETED_BY = statements.numbered(_SQL["completed_by"])
_JOIN = statements.numbered(_SQL["join_chord"].format(joining=_SQL["joining"]))
# Answers are pages from an index: compiling a plan or starting processes takes longer than they do.
_SETTINGS = (
    "SET TIME ZONE 'UTC'; SET datestyle = 'ISO'; "
    "SET default_transaction_isolation = 'read committed'; "
    "SET jit = off; SET max_parallel_workers_per_gather = 0"
)
_CONFLICTS = (errors.SerializationFailure, errors.DeadlockDetected)


class PostgreSQL:
    """One PostgreSQL database, of version 14 or newer."""

    placeholder = "%s"
    sql = _SQL

    def __init__(
        self, url: str, *, timeout: timedelta, prepare: bool = True, synchronous: bool = False
    ) -> None:
        self._url = url
        self._timeout = timeout.total_seconds()
        self._prepare = prepare
        self._synchronous = synchronous
        self._connections: Connections[Session] = Connections(self._connect)
        self._edges = Edges()
        self._purged: tuple[datetime, datetime] | None = None
        """As of when a purge deletes that is not through, and how far it came."""

    def __repr__(self) -> str:
        return without_password(self._url)

    def _connect(self) -> Session:
        session = Session.connect(
            self._url,
            autocommit=True,
            prepare_threshold=5 if self._prepare else None,
            connect_timeout=math.ceil(self._timeout),
            client_encoding="utf8",
        )
        session.deadline = self._timeout
        if session.info.server_version < _OLDEST * 10_000:
            session.close()
            raise StorageError(
                f"{self!r} is PostgreSQL {session.info.server_version // 10_000}: "
                f"fullresult needs {_OLDEST} or newer"
            )
        session.execute(_SETTINGS)
        return session

    def ask(self, sql: str, values: Sequence[Any]) -> list[Sequence[Any]]:
        # Never prepared: a plan for any value, which PostgreSQL would make, is a bad one for most.
        return self._run(
            lambda session: list(session.execute(sql, values, prepare=False).fetchall())
        )

    def write(self, events: Sequence[TaskRecord]) -> list[str]:
        if len(events) == 1:
            return self._run(lambda session: self._write_one(session, events[0]))
        return self._run(lambda session: self._write_all(session, events))

    def begin_write(self, event: TaskRecord) -> Callable[[], list[str]]:
        def begin() -> tuple[Session, bool]:
            session, used = self._connections.take()
            try:
                self._send(session, event)
            except BaseException as error:
                stale = _is_stale(session, error, used=used)
                self._connections.take_back(session, error)
                if stale:
                    raise _Stale(str(error)) from error
                raise
            return session, used

        session, used = self._translated(begin, again=True)

        def finish() -> list[str]:
            try:
                lacking = _lacking(session, event)
            except BaseException as error:
                again = isinstance(error, _CONFLICTS) or _is_stale(session, error, used=used)
                self._connections.take_back(session, error)
                if not again:
                    raise
            else:
                self._connections.give_back(session)
                return lacking
            return self._run(lambda session: self._write_one(session, event))

        return lambda: self._translated(finish)

    def _write_one(self, session: Session, event: TaskRecord) -> list[str]:
        self._send(session, event)
        return _lacking(session, event)

    def _send(self, session: Session, event: TaskRecord) -> None:
        relaxed = rows.may_wait(event) and not self._synchronous
        sql, values = _statement(event, _RELAXED_WRITES if relaxed else _WRITES)
        session.send(sql, values, prepare=self._prepare)

    def _write_all(self, session: Session, events: Sequence[TaskRecord]) -> list[str]:
        """One statement: each alone would cost several times as much."""
        if not events:
            return []
        # In order and each once, or two batches may wait for each other, and one for itself.
        folded = fold(events)
        answer = self._execute(session, *_batch(folded))
        return [task_id for task_id, is_lacking in answer.fetchall() if is_lacking]

    def _execute(self, session: Session, sql: str, values: Sequence[Any]) -> RawCursor[Any]:
        # Raw: psycopg parses a statement of this length anew each time it looks for %s.
        return RawCursor(session).execute(sql, values, prepare=self._prepare)

    def change(
        self, sql: str, values: Sequence[Any], event: TaskRecord | None = None
    ) -> list[Sequence[Any]]:
        def both(session: Session) -> list[Sequence[Any]]:
            with session.transaction():
                session.execute(self.sql["durable_by_index"])
                answer = session.execute(sql, values, prepare=False).fetchall()
                if answer and event is not None:
                    session.send(*_statement(event, _WRITES), prepare=self._prepare)
                    session.first_value()
            return list(answer)

        answer = self._run_once(both)
        self._edges.forget()
        return answer

    def schedule(self, schedule: Schedule, event: TaskRecord) -> None:
        sql, values = _statement(event, _SCHEDULES, rows.schedule_parameters(schedule))

        def keep(session: Session) -> None:
            if self._prepare:
                session.prepare(sql)
            try:
                session.send(sql, values, prepare=self._prepare)
                session.first_value()
            except psycopg.Error as error:
                if _is_uncertain(session, error):
                    raise Uncertain(
                        f"{self!r}: no answer whether {schedule.schedule_id} is kept: {error}"
                    ) from error
                raise

        self._run_once(keep)
        self._edges.added(schedule.namespace, rows.date_text(schedule.due))

    def claim_due(
        self, namespace: str, now: datetime, claim: str, limit: int
    ) -> list[Sequence[Any]]:
        if limit < 1:
            return []
        began = time.monotonic()
        edge = self._edges.of(namespace)
        due = rows.date_text(now)
        values = [claim, due, namespace, *edge, due, limit]
        found, dead = self._run_once(lambda session: self._claim(session, values))
        reached = _reached(found, now, limit)
        if edge is START:
            seconds = time.monotonic() - began
            self._edges.looked(namespace, reached, dead=dead, seconds=seconds)
        else:
            self._edges.move(namespace, reached)
        return found

    def _claim(self, session: Session, values: Sequence[Any]) -> tuple[list[Sequence[Any]], int]:
        with _durable(session):
            dead = session.execute(self.sql["dead"])
            found = session.execute(self.sql["claim_due"], values, prepare=False)
        return list(found.fetchall()), dead.fetchall()[0][0]

    def mark_sent(
        self, claim: str, schedule_ids: Collection[str], events: Sequence[TaskRecord]
    ) -> list[str]:
        folded = fold(events)

        def both(session: Session) -> list[str]:
            with _durable(session):
                closed = session.execute(self.sql["close"], [claim, [*schedule_ids]], prepare=False)
                if folded:
                    self._execute(session, *_batch(folded))
            return [row[0] for row in closed.fetchall()]

        return self._run_once(both)

    def next_due(self, namespace: str) -> list[Sequence[Any]]:
        values = [namespace, *self._edges.of(namespace)]

        def look(session: Session) -> list[Sequence[Any]]:
            with session.pipeline(), session.transaction():
                session.execute(self.sql["by_index"])
                found = session.execute(self.sql["next_due"], values, prepare=False)
            return list(found.fetchall())

        return self._run(look)

    def many(self, ids: Collection[str]) -> list[str]:
        return list(ids)

    def delete(self, found: str, values: Sequence[Any]) -> int:
        def both(session: Session) -> int:
            with session.transaction():
                # Two statements: the second sees the entries of a writer the first waited for.
                lock = self.sql["lock"].format(found=found)
                ids = [row[0] for row in session.execute(lock, values, prepare=False)]
                return session.execute(self.sql["delete"], [ids, ids], prepare=False).rowcount

        return self._run(both)

    def delete_expired(self, now: datetime, limit: int) -> int:
        expired = [now, max(limit, 0)]
        # A purge asks for one time again and again: it goes on where it was.
        purged = self._purged if self._purged is not None and self._purged[0] == now else None
        since = purged[1] if purged else "-infinity"

        def all_of_them(session: Session) -> int:
            with session.transaction():
                session.execute(self.sql["by_index"])
                # Two statements, as in `delete`.
                with self._waiting(session, self._timeout if purged else _SKIPPING):
                    locked = session.execute(
                        self.sql["lock_expired"], [since, *expired], prepare=False
                    ).fetchall()
                ids = [row[0] for row in locked]
                if ids:
                    session.execute(self.sql["delete"], [ids, ids], prepare=False)
                session.execute(self.sql["delete_expired_groups"], expired, prepare=False)
                chords = session.execute(self.sql["delete_expired_chords"], expired, prepare=False)
                gone = [row[0] for row in chords]
                session.execute(self.sql["forget_members"], [gone], prepare=False)
            self._purged = (now, locked[-1][1]) if 0 < limit == len(locked) else None
            return len(ids)

        return self._run(all_of_them)

    def get_results(self, task_ids: Collection[str]) -> list[Sequence[Any]]:
        return self._get(_RESULTS, task_ids)

    def get_ended(self, task_ids: Collection[str], *, messages: bool) -> list[Sequence[Any]]:
        return self._get(_ENDED[messages], task_ids)

    def get_successes(self, task_ids: Collection[str]) -> list[Sequence[Any]]:
        return self._get(_SUCCESSES, task_ids)

    def _get(self, sql: str, task_ids: Collection[str]) -> list[Sequence[Any]]:
        ids = [_array(task_ids)]

        def get(session: Session) -> list[Sequence[Any]]:
            session.send(sql, ids, prepare=self._prepare)
            return session.rows()

        return self._run(get)

    def keep(self, sql: str, values: Sequence[Any]) -> list[Sequence[Any]]:
        return self.ask(sql, values)

    def join_chord(self, joining: Joining) -> bool:
        sql, values = _JOIN, _join_parameters(joining)

        def join(session: Session) -> tuple[list[str], bool]:
            session.send(sql, values, prepare=self._prepare)
            joined = session.first_values()
            return [], self._is_complete(session, joining, joined[0] if joined else None)

        return self._join(joining, join)[1]

    def write_and_join(self, event: TaskRecord, joining: Joining) -> tuple[list[str], bool]:
        sql, values = _statement(event, _ENDS_OF_MEMBERS, _join_parameters(joining))

        def both(session: Session) -> tuple[list[str], bool]:
            session.send(sql, values, prepare=self._prepare)
            lacking, joined = session.first_row()
            complete = self._is_complete(session, joining, joined)
            return [event.task_id] if lacking == b"t" else [], complete

        return self._join(joining, both)

    def _join(
        self, joining: Joining, do: Callable[[Session], tuple[list[str], bool]]
    ) -> tuple[list[str], bool]:
        sent = False

        def join(session: Session) -> tuple[list[str], bool]:
            nonlocal sent
            sent = True
            return do(session)

        try:
            return self._run(join)
        except StorageError as error:
            if sent and not _was_refused(error):
                raise Uncertain(
                    f"{error}; whether {joining.member} was counted is not known"
                ) from error
            raise

    def _is_complete(self, session: Session, joining: Joining, joined: bytes | None) -> bool:
        """Whether *joining* completed its chord, now or, where it *joined* before, then."""
        if joined is None:
            known = [joining.call, str(joining.size), joining.chord_id]
            session.send(_COMPLETED_BY, known, prepare=self._prepare)
            found = session.first_values()
            joined = found[0] if found else None
        return joined == b"t"

    def forget_chord(self, chord_id: str) -> None:
        def both(session: Session) -> None:
            with session.transaction():
                session.execute(self.sql["forget_chord"], [chord_id], prepare=False)
                session.execute(self.sql["forget_members"], [[chord_id]], prepare=False)

        self._run(both)

    def migrate(self, *, patient: bool) -> None:
        if self._run(self._version) < statements.newest("postgresql"):
            self._run(self._upgrade if patient else self._upgrade_in_time)

    def check(self) -> None:
        if self._run(self._version) < statements.newest("postgresql"):
            raise StorageError(
                f"{self!r}: its schema is missing or old, and fullresult_auto_setup is False; "
                "run `celery -A proj fullresult setup`, or what `setup --sql` prints"
            )

    def _version(self, session: Session) -> int:
        row = session.execute("SELECT to_regclass('fullresult_schema')").fetchone()
        if row is None or row[0] is None:
            return 0
        row = session.execute("SELECT max(version) FROM fullresult_schema").fetchone()
        return int(row[0] or 0) if row else 0

    def _upgrade(self, session: Session) -> None:
        # Another process may be building an index.
        with self._waiting(session, None), session.transaction():
            self._upgrade_locked(session)

    @contextmanager
    def _waiting(self, session: Session, seconds: float | None) -> Iterator[None]:
        """Wait so long for each answer; None: for ever."""
        session.deadline = seconds
        try:
            yield
        finally:
            session.deadline = self._timeout

    def _upgrade_in_time(self, session: Session) -> None:
        # A little less than the deadline, so that it is the server that gives up.
        milliseconds = max(1, int(self._timeout * 900))
        try:
            with session.transaction():
                session.execute(f"SET LOCAL lock_timeout = {milliseconds}")
                self._upgrade_locked(session)
        except psycopg.OperationalError as error:
            if session.broken:
                raise
            raise StorageError(
                f"{self!r}: {error}; another process may be upgrading the schema: "
                "wait for it, or run `celery -A proj fullresult setup`"
            ) from error

    def _upgrade_locked(self, session: Session) -> None:
        session.execute("SELECT pg_advisory_xact_lock(%s)", [_SETUP_LOCK])
        session.execute(self.sql["create_schema"])
        version = self._version(session)
        for number, sql in statements.migrations("postgresql"):
            if number > version:
                session.execute(sql)
                session.execute("INSERT INTO fullresult_schema VALUES (%s)", [number])

    def close(self) -> None:
        self._connections.close()

    def _run(self, do: Callable[[Session], T]) -> T:
        """`do(session)`, once more on a new connection where an idle one turns out to be dead."""

        def once(session: Session, used: bool) -> T:
            try:
                return do(session)
            except psycopg.OperationalError as error:
                if _is_stale(session, error, used=used):
                    raise _Stale(str(error)) from error
                raise

        return self._translated(partial(self._connections.use, once), again=True)

    def _run_once(self, do: Callable[[Session], T]) -> T:
        """`do(session)`, and again only where nothing can have been done the first time."""

        def once(session: Session, used: bool) -> T:
            if used and session.has_hung_up():
                raise _Stale("the server ended the connection")
            return do(session)

        return self._translated(partial(self._connections.use, once), again=True)

    def _again(self, do: Callable[[], T]) -> T:
        """`do()`, and again if a dead connection or another transaction got in its way."""
        try:
            return do()
        except _Stale:
            self._connections.close()
        except _CONFLICTS:
            pass
        return do()

    def _translated(self, do: Callable[[], T], *, again: bool = False) -> T:
        """`do()`, or as `_again`, raising for psycopg's errors what the contract has for them."""
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
            raise StorageError(f"{self!r}: {error}") from error

    def json_index(self, query: TaskQuery) -> Literal["unordered"] | None:
        return "unordered" if query.kwargs or query.args else None

    def name_like(self, pattern: str) -> Condition:
        return "t.name ~ %s", [globs.as_regex(pattern)]

    def contains(self, column: str, value: Any) -> Iterator[Condition]:
        yield f"{column} @> %s::jsonb", [json.dumps(value)]
        # A list in the filter means the whole list; @> would take any that has its items.
        for path, leaf in queries.leaves(value):
            if isinstance(leaf, list):
                yield self._exactly(column, path, leaf)

    def item_is(self, column: str, path: Path, value: Any) -> Iterator[Condition]:
        yield f"{column} @> %s::jsonb", [json.dumps([value])]
        for inner, leaf in queries.leaves(value):
            yield self._exactly(column, (*path, *inner), leaf)

    def _exactly(self, column: str, path: Path, value: Any) -> Condition:
        steps = [str(step) for step in path]
        if value == {}:
            return f"jsonb_typeof({column} #> %s) = 'object'", [steps]
        return f"{column} #> %s = %s::jsonb", [steps, json.dumps(value)]

    def any_of(self, column: str, values: list[str]) -> Condition:
        if len(values) == 1:
            return f"{column} = %s", [values[0]]
        return f"{column} = ANY(%s)", [values]

    def in_buckets(self, buckets: list[str]) -> Condition:
        return self.any_of("t.bucket", buckets)

    def none_of(self, column: str, values: list[str]) -> Condition:
        return f"{column} <> ALL(%s)", [values]

    def has_text(self, columns: tuple[str, ...], text: str) -> Condition:
        pattern = queries.like(text)
        return " OR ".join(f"{column} ILIKE %s" for column in columns), [pattern] * len(columns)


def _statement(
    event: TaskRecord, writes: Statements, before: Sequence[Parameter] = ()
) -> tuple[str, list[Parameter]]:
    kind = rows.kind_of(event)
    sql, values = writes[kind, bool(event.entries)], rows.parameters(event, kind)
    if event.entries:
        return sql, [event.task_id, rows.entries_json(event.entries), *before, *values]
    return sql, [*before, *values]


def _join_parameters(joining: Joining) -> list[Parameter]:
    chord_id, member, size, expires, call = joining
    return [chord_id, member, call, expires, str(size), str(size)]


def _batch(events: Sequence[TaskRecord]) -> tuple[str, list[str]]:
    kind = rows.kind_of_all(events)
    has_entries = any(event.entries for event in events)
    before = [rows.all_entries_json(events)] if has_entries else []
    return _BATCHES[kind, has_entries], [*before, rows.events_json(events, kind)]


@contextmanager
def _durable(session: Session) -> Iterator[None]:
    """A transaction of one round trip, on the disk when it ends; answers are read after it."""
    with session.pipeline(), session.transaction():
        session.execute(_SQL["durable_by_index"])
        yield


def _reached(found: Sequence[Sequence[Any]], now: datetime, limit: int) -> Position:
    """How far a claim came: there may be more where it found as many as it asked for."""
    if len(found) < limit:
        # What is due now may come a little late.
        return Position(rows.date_text(now - timedelta(seconds=1)), "")
    schedule_id, due = max(((row[0], row[3]) for row in found), key=lambda each: each[::-1])
    return Position(rows.date_text(due), schedule_id)


def _lacking(session: Session, event: TaskRecord) -> list[str]:
    return [event.task_id] if session.first_value() == b"t" else []


def _is_stale(session: Session, error: BaseException, *, used: bool) -> bool:
    return used and session.broken and isinstance(error, psycopg.OperationalError)


def _array(ids: Collection[str]) -> str:
    """*ids* as PostgreSQL writes an array."""
    quoted = (each.replace("\\", "\\\\").replace('"', '\\"') for each in ids)
    return "{" + ",".join(f'"{each}"' for each in quoted) + "}"


def _was_refused(error: StorageError) -> bool:
    """Whether the server said that it did not do it."""
    cause = error.__cause__
    if isinstance(error, Refused) or not isinstance(cause, psycopg.Error):
        return True
    return cause.diag.severity_nonlocalized == "ERROR"


def _is_uncertain(session: Session, error: psycopg.Error) -> bool:
    """Whether a statement that was sent may have been done, or may yet be."""
    if isinstance(error, REFUSALS):
        return False
    return session.broken or error.sqlstate is None or error.diag.severity_nonlocalized != "ERROR"


class _Stale(psycopg.OperationalError):
    """A connection that had been idle was dead when it was used."""
