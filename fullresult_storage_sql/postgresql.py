"""PostgreSQL: how each method of `Database` is done there.

Long because that protocol is one: every method is here, most of them in a few lines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from psycopg import RawCursor

from fullresult.record import Schedule, TaskRecord, fold
from fullresult.storage import Refused, StorageError, Uncertain, may_wait
from fullresult_storage_sql import postgresql_statements as prepared
from fullresult_storage_sql import rows
from fullresult_storage_sql.database import Joining
from fullresult_storage_sql.due_edges import START, Edges, Position
from fullresult_storage_sql.expired_results import expired_results
from fullresult_storage_sql.postgresql_conditions import Conditions
from fullresult_storage_sql.postgresql_expiry import Expiry
from fullresult_storage_sql.postgresql_home import Home
from fullresult_storage_sql.postgresql_partitioning import partition
from fullresult_storage_sql.postgresql_partitions import Partitions, answer_to, still_lacking
from fullresult_storage_sql.postgresql_replays import TakesForReplays
from fullresult_storage_sql.postgresql_schema import Schema
from fullresult_storage_sql.postgresql_server import (
    CONFLICTS,
    PARTITIONED_SINCE,
    Server,
    Stale,
    is_stale,
)
from fullresult_storage_sql.postgresql_session import REFUSALS, Session


class PostgreSQL(Conditions, Expiry, Home, TakesForReplays):
    """One PostgreSQL database, of version 14 or newer."""

    def __init__(
        self,
        url: str,
        *,
        timeout: timedelta,
        pool_size: int,
        prepare: bool = True,
        synchronous: bool = False,
        home: Path | None = None,
        partition: timedelta | None = None,
    ) -> None:
        self._server = Server(url, timeout=timeout, pool_size=pool_size, prepare=prepare, home=home)
        self._schema = Schema(self._server)
        self._prepare = prepare
        self._synchronous = synchronous
        self._edges = Edges()
        self._partitions = Partitions(self._server, partition)

    def __repr__(self) -> str:
        return repr(self._server)

    def migrate(self, *, patient: bool) -> None:
        self._schema.migrate(patient=patient)
        if patient and self._partitions.are_wanted:
            partition(self._server)

    def check(self) -> None:
        self._schema.check()

    def missing_file(self) -> str | None:
        return None

    def ask(self, sql: str, values: Sequence[Any]) -> list[Sequence[Any]]:
        return self._server.run(lambda session: self._server.ask(session, sql, values))

    def write(self, events: Sequence[TaskRecord]) -> list[str]:
        if len(events) == 1:
            return self._server.run(lambda session: self._write_one(session, events[0]))
        return self._server.run(lambda session: self._write_all(session, events))

    def begin_write(self, event: TaskRecord) -> Callable[[], list[str]]:
        def begin() -> tuple[Session, bool]:
            session, used = self._server.connections.take()
            try:
                self._send(session, event)
            except BaseException as error:
                stale = is_stale(session, error, used=used)
                self._server.connections.take_back(session, error)
                if stale:
                    raise Stale(str(error)) from error
                raise
            return session, used

        session, used = self._server.translated(begin, again=True)

        def finish() -> list[str]:
            try:
                lacking = answer_to(session, event, session.first_value())
            except BaseException as error:
                again = isinstance(error, (*CONFLICTS, PARTITIONED_SINCE)) or is_stale(
                    session, error, used=used
                )
                self._server.connections.take_back(session, error)
                if not again:
                    raise
            else:
                self._server.connections.give_back(session)
                return lacking
            return self._server.run(lambda session: self._write_one(session, event))

        return lambda: self._server.translated(finish)

    def _write_one(self, session: Session, event: TaskRecord) -> list[str]:
        self._send(session, event)
        return answer_to(session, event, session.first_value())

    def _send(self, session: Session, event: TaskRecord) -> None:
        relaxed = may_wait(event) and not self._synchronous
        sql, values = prepared.of_event(
            event, prepared.RELAXED_WRITES if relaxed else prepared.WRITES
        )
        session.send(sql, values, prepare=self._prepare)

    def _write_all(self, session: Session, events: Sequence[TaskRecord]) -> list[str]:
        """Merge all in one statement, which costs a fraction of one statement for each."""
        if not events:
            return []
        # Each task once, in the order of ids: else two batches may deadlock, and one meets itself.
        folded = fold(events)
        answer = self._execute(session, *prepared.of_batch(folded))
        without = {event.task_id for event in folded if event.message is None}
        lacking = [each for each, is_lacking in answer.fetchall() if is_lacking]
        if session.is_partitioned:
            lacking = still_lacking(session, folded, lacking)
        return [each for each in lacking if each in without]

    def _execute(self, session: Session, sql: str, values: Sequence[Any]) -> RawCursor[Any]:
        # Raw: psycopg parses a statement of this length anew each time it looks for %s.
        return RawCursor(session).execute(session.fitted(sql), values, prepare=self._prepare)

    def change(
        self, sql: str, values: Sequence[Any], event: TaskRecord | None = None
    ) -> list[Sequence[Any]]:
        def both(session: Session) -> list[Sequence[Any]]:
            with session.transaction():
                session.execute(self.sql["durable_prefer_index"])
                answer = session.execute(sql, values, prepare=False).fetchall()
                if answer and event is not None:
                    session.send(*prepared.of_event(event, prepared.WRITES), prepare=self._prepare)
                    session.first_value()
            return list(answer)

        answer = self._server.run_once(both)
        self._edges.forget()
        return answer

    def schedule(self, schedule: Schedule, event: TaskRecord) -> None:
        sql, values = prepared.of_event(
            event, prepared.SCHEDULES, rows.schedule_parameters(schedule)
        )

        def keep(session: Session) -> None:
            if self._prepare:
                session.prepare(sql)
            try:
                session.send(sql, values, prepare=self._prepare)
                answer_to(session, event, session.first_value())
            except psycopg.Error as error:
                if _is_uncertain(session, error):
                    raise Uncertain(
                        f"{self!r}: no answer whether {schedule.schedule_id} is kept: {error}"
                    ) from error
                raise

        self._server.run_once(keep)
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
        found, dead = self._server.run_once(lambda session: self._claim(session, values))
        reached = _reached(found, now, limit)
        if edge is START:
            seconds = time.monotonic() - began
            self._edges.looked(namespace, reached, dead=dead, seconds=seconds)
        else:
            self._edges.move(namespace, reached)
        return found

    def _claim(self, session: Session, values: Sequence[Any]) -> tuple[list[Sequence[Any]], int]:
        with _durable(session):
            dead = session.execute(self.sql["dead_rows"])
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
                    self._execute(session, *prepared.of_batch(folded))
            return [row[0] for row in closed.fetchall()]

        return self._server.run_once(both)

    def next_due(self, namespace: str) -> list[Sequence[Any]]:
        values = [namespace, *self._edges.of(namespace)]

        def look(session: Session) -> list[Sequence[Any]]:
            with session.pipeline(), session.transaction():
                session.execute(self.sql["prefer_index"])
                found = session.execute(self.sql["next_due"], values, prepare=False)
            return list(found.fetchall())

        return self._server.run(look)

    def many(self, ids: Collection[str]) -> list[str]:
        return list(ids)

    def delete(self, found: str, values: Sequence[Any]) -> int:
        def both(session: Session) -> int:
            with session.transaction():
                # Two statements: the second sees the entries of a writer the first waited for.
                lock = self.sql["lock"].format(found=found)
                ids = [row[0] for row in session.execute(lock, values, prepare=False)]
                return session.execute(self.sql["delete"], [ids, ids], prepare=False).rowcount

        return self._server.run(both)

    def delete_expired_results(self, now: datetime, limit: int) -> bool:
        def some_of_them(session: Session) -> bool:
            with session.transaction():
                session.execute(self.sql["prefer_index"])
                return expired_results(self, partial(_rows, session), now, limit)

        return self._server.run(some_of_them)

    def forget_audit(self, until: str, limit: int) -> int:
        return len(self.ask(self.sql["forget_audit"], [until, limit]))

    def get_results(self, task_ids: Collection[str]) -> list[Sequence[Any]]:
        return self._get(prepared.RESULTS, task_ids)

    def get_ended(self, task_ids: Collection[str], *, messages: bool) -> list[Sequence[Any]]:
        return self._get(prepared.ENDED[messages], task_ids)

    def get_successes(self, task_ids: Collection[str]) -> list[Sequence[Any]]:
        return self._get(prepared.SUCCESSES, task_ids)

    def _get(self, sql: str, task_ids: Collection[str]) -> list[Sequence[Any]]:
        ids = [prepared.array(task_ids)]

        def get(session: Session) -> list[Sequence[Any]]:
            session.send(sql, ids, prepare=self._prepare)
            return session.rows()

        return self._server.run(get)

    def keep(self, sql: str, values: Sequence[Any]) -> list[Sequence[Any]]:
        return self.ask(sql, values)

    def join_chord(self, joining: Joining) -> bool:
        sql, values = prepared.JOIN, prepared.join_parameters(joining)

        def join(session: Session) -> tuple[list[str], bool]:
            session.send(sql, values, prepare=self._prepare)
            joined = session.first_values()
            return [], self._is_complete(session, joining, joined[0] if joined else None)

        return self._join(joining, join)[1]

    def write_and_join(self, event: TaskRecord, joining: Joining) -> tuple[list[str], bool]:
        sql, values = prepared.of_event(
            event, prepared.ENDS_OF_MEMBERS, prepared.join_parameters(joining)
        )

        def both(session: Session) -> tuple[list[str], bool]:
            session.send(sql, values, prepare=self._prepare)
            lacking, joined = session.first_row()
            complete = self._is_complete(session, joining, joined)
            return answer_to(session, event, lacking), complete

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
            return self._server.run(join)
        except StorageError as error:
            if sent and not _was_refused(error):
                raise Uncertain(
                    f"{error}; whether {joining.member} was counted is not known"
                ) from error
            raise

    def _is_complete(self, session: Session, joining: Joining, joined: bytes | None) -> bool:
        """True if *joining* completed its chord, now or when it joined before."""
        if joined is None:
            known = [joining.call, joining.chord_id]
            session.send(prepared.COMPLETED_BY, known, prepare=self._prepare)
            found = session.first_values()
            joined = found[0] if found else None
        return joined == b"t"

    def begin_chord(self, chord_id: str, size: int | None, body: str, expires: str | None) -> int:
        (found,) = self.keep(self.sql["begin_chord"], [chord_id, body, size, expires])
        return int(found[0])

    def add_to_chord(self, chord_id: str, added: str, expires: str | None) -> None:
        self.keep(self.sql["add_to_chord"], [chord_id, added, expires])

    def close(self) -> None:
        self._server.connections.close()

    def keep_no_connection(self) -> None:
        """Close each connection after its use: a database may be dropped at any time."""
        self._server.connections.keeps_idle = False


@contextmanager
def _durable(session: Session) -> Iterator[None]:
    """A durable transaction of one round trip. Answers are read after it."""
    with session.pipeline(), session.transaction():
        session.execute(prepared.SQL["durable_prefer_index"])
        yield


def _reached(found: Sequence[Sequence[Any]], now: datetime, limit: int) -> Position:
    """The position that a claim came to; beyond it there may be more due if *limit* was reached."""
    if len(found) < limit:
        # A schedule that is due now may be committed a moment later.
        return Position(rows.date_text(now - timedelta(seconds=1)), "")
    schedule_id, due = max(((row[0], row[3]) for row in found), key=lambda each: each[::-1])
    return Position(rows.date_text(due), schedule_id)


def _rows(session: Session, sql: str, values: Sequence[Any]) -> list[Sequence[Any]]:
    return list(session.execute(sql, values, prepare=False).fetchall())


def _was_refused(error: StorageError) -> bool:
    """True if the server said that it did nothing."""
    cause = error.__cause__
    if isinstance(error, Refused) or not isinstance(cause, psycopg.Error):
        return True
    return cause.diag.severity_nonlocalized == "ERROR"


def _is_uncertain(session: Session, error: psycopg.Error) -> bool:
    """True if a statement that was sent may have been done, or may still be."""
    if isinstance(error, REFUSALS):
        return False
    return session.broken or error.sqlstate is None or error.diag.severity_nonlocalized != "ERROR"
