"""Partitions: records of tasks that ended lie by the day on which they expire, and go with it.

The tables are partitioned by `expires_on`. Whatever a writer inserts or changes lies in the
partition of `infinity`, where ids are unique. A record that ended a day ago is moved to the
partition of the day on which it expires. When that is over, the partition is detached beside
writers, and dropped.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone
from typing import Any, NamedTuple

from fullresult.record import TaskRecord
from fullresult.storage import StorageError
from fullresult_storage_sql import rows, statements
from fullresult_storage_sql.postgresql_server import Server
from fullresult_storage_sql.postgresql_session import Session
from fullresult_storage_sql.postgresql_statements import SQL
from fullresult_storage_sql.rows import Kind

AGE = timedelta(days=1)
"""For which a record was not written before it is moved."""
MOST_AHEAD = 31
"""Partitions into which records are moved: every listing asks each. What expires later waits."""
TABLES = ("fullresult_task", "fullresult_execution")
_EPOCH = date(1970, 1, 1)
_BOUNDS = re.compile(r"FROM \('(\d{4}-\d\d-\d\d)'\) TO \('(\d{4}-\d\d-\d\d)'\)")
_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ALL = Kind(message=True, stored=True, resent=True, own=True)
_BRING_BACK = (
    SQL["bring_back"]
    + "\n"
    + statements.write(SQL, _ALL, SQL["old"].format(columns=", ".join(rows.columns(_ALL))))
).replace("RETURNING message_stamp", "RETURNING t.task_id, message_stamp")


class Partition(NamedTuple):
    """The part of each table for what expires in a span of days."""

    first: date
    end: date
    """The day after the last."""

    def table(self, parent: str) -> str:
        return f"{parent}_{self.first:%Y%m%d}"


class Partitions:
    """The partitions of one database, and the move of records into them."""

    def __init__(self, server: Server, length: timedelta | None) -> None:
        self._server = server
        self._days = length.days if length else 0
        self._walked = ("-infinity", "")
        self._begun: float | None = None
        """When the walk through what may be moved began, by `time.monotonic`."""

    @property
    def are_wanted(self) -> bool:
        return self._days > 0

    def drop(self, now: datetime) -> int:
        """Drop the partitions of days that are over; returns the number of records in them."""
        today = now.astimezone(timezone.utc).date()
        return self._server.run(lambda session: self._drop(session, today))

    def _drop(self, session: Session, today: date) -> int:
        over = [each for each in _partitions(session) if each.end <= today]
        if not over and not session.execute(SQL["detached"]).fetchall():
            return 0
        dropped = 0
        with self._server.unlimited(session):
            for partition in over:
                count = SQL["count_partition"].format(name=partition.table(TABLES[0]))
                dropped += session.execute(count.encode()).fetchall()[0][0]
                for parent in TABLES:
                    _detach(session, parent, partition.table(parent))
            for (table,) in session.execute(SQL["detached"]).fetchall():
                session.execute(f"DROP TABLE IF EXISTS {table}".encode())
        return dropped

    def move(self, now: datetime, limit: int) -> bool:
        """Move, of the next *limit* records, what ended long enough ago; true if there are more.

        The walk goes on where it was; a day later it begins anew.
        """
        if not self.are_wanted:
            return False
        if self._begun is None or time.monotonic() - self._begun > AGE.total_seconds():
            self._walked, self._begun = ("-infinity", ""), time.monotonic()
        until, most = now - AGE, now + timedelta(days=self._days * MOST_AHEAD)
        asked = [until, now, most, *self._walked, until, limit]
        found = self._server.run(lambda session: _movable(session, asked))
        days = {task_id: day for task_id, _, day in found if day is not None}
        if days:
            self._make(sorted(set(days.values())))
            self._server.run(lambda session: _move(session, days, until))
        if found:
            self._walked = (rows.date_text(found[-1][1]), found[-1][0])
        return len(found) == limit

    def _make(self, days: Sequence[date]) -> None:
        known = self._server.run(_partitions)
        for day in days:
            if not any(each.first <= day < each.end for each in known):
                known.append(self._around(day, known))
                self._server.run(lambda session: _make(session, known[-1]))

    def _around(self, day: date, known: Sequence[Partition]) -> Partition:
        """The new partition for *day*; smaller where its neighbours are of another length."""
        first = day - timedelta(days=(day - _EPOCH).days % self._days)
        end = first + timedelta(days=self._days)
        return Partition(
            max([first, *(each.end for each in known if each.end <= day)]),
            min([end, *(each.first for each in known if each.first > day)]),
        )


def _movable(session: Session, asked: Sequence[Any]) -> list[tuple[Any, ...]]:
    if not session.is_partitioned:
        raise StorageError(
            "fullresult_partition is set, and the tables have no partitions: "
            "run `celery -A proj fullresult setup`"
        )
    return session.execute(SQL["movable"], asked, prepare=False).fetchall()


def bring_back(session: Session, task_ids: Sequence[str]) -> set[str]:
    """Join what was moved of these tasks to what was written since.

    A record is a merge of events, and so of its parts. Returns the tasks that lack no message now.
    """
    if not task_ids:
        return set()
    with session.transaction():
        session.execute(SQL["prefer_index"])  # no statistics know a new partition
        found = session.execute(SQL["in_partitions"], [[*task_ids]], prepare=False).fetchall()
        ids = [row[0] for row in found]
        if not ids:
            return set()
        whole = session.execute(session.fitted(_BRING_BACK).encode(), [ids], prepare=False)
        session.execute(SQL["bring_entries_back"], [ids], prepare=False)
        return {task_id for task_id, lacking in whole.fetchall() if not lacking}


def answer_to(session: Session, event: TaskRecord, lacks: bytes | None) -> list[str]:
    """The answer of `Database.write` to *event*, from what its statement answered."""
    lacking = [event.task_id] if lacks == b"t" else []
    if session.is_partitioned:
        lacking = still_lacking(session, [event], lacking)
    return lacking if event.message is None else []


def still_lacking(
    session: Session, events: Sequence[TaskRecord], lacking: Sequence[str]
) -> list[str]:
    """Those of *lacking* that still lack a message when what was moved is brought back.

    A task that lacks one may have been moved. So may one that is published, if it has an id that
    somebody chose: Celery's own ids are published anew, if at all, soon after.
    """
    chosen = {event.task_id for event in events if event.message and not _is_random(event.task_id)}
    known = bring_back(session, sorted({*lacking, *chosen}))
    return [task_id for task_id in lacking if task_id not in known]


def _is_random(task_id: str) -> bool:
    return _UUID.fullmatch(task_id) is not None


def _move(session: Session, days: dict[str, date], until: datetime) -> None:
    bring_back(session, [*days])
    values = [[*days], until, [*set(days.values())]]
    with session.transaction():
        session.execute(SQL["prefer_index"])
        session.execute(SQL["move"], values, prepare=False)


def _partitions(session: Session) -> list[Partition]:
    bounds = [_BOUNDS.search(row[0]) for row in session.execute(SQL["partitions"]).fetchall()]
    return [Partition(*map(date.fromisoformat, each.groups())) for each in bounds if each]


def _make(session: Session, partition: Partition) -> None:
    with session.transaction():
        session.execute(SQL["lock_partitions"])
        schema = session.execute(SQL["home"]).fetchall()[0][0]
        for parent in TABLES:
            name = partition.table(parent)
            if session.execute(SQL["detachment"], [name]).fetchall():
                continue  # another process made it
            for sql in (SQL["make_partition"], SQL["attach_partition"]):
                text = sql.format(schema=schema, parent=parent, name=name, **partition._asdict())
                session.execute(text.encode())


def _detach(session: Session, parent: str, name: str) -> None:
    """Beside readers and writers; a detachment that was cut off is finished."""
    for (was_cut_off,) in session.execute(SQL["detachment"], [name]).fetchall():
        how = "FINALIZE" if was_cut_off else "CONCURRENTLY"
        session.execute(f"ALTER TABLE {parent} DETACH PARTITION {name} {how}".encode())
