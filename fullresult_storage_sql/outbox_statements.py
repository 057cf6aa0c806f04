"""What a database is asked by a connection of the caller's: the same for each kind of connection.

Each question is a generator: it yields statements, is sent their rows, and returns the answer. So
connections that answer at once and those that are awaited ask the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol, TypeVar

from fullresult.record import Schedule, TaskRecord, cut
from fullresult.storage import Identity, OutboxRow
from fullresult_storage_sql import rows as texts
from fullresult_storage_sql import statements
from fullresult_storage_sql.outbox_channels import Dialect, Rows
from fullresult_storage_sql.rows import Kind

T = TypeVar("T")
Steps = Generator[tuple[str, Sequence[Any]], Rows, T]
_EVENT = Kind(message=True, stored=False)
_COLUMNS = ", ".join(texts.columns(_EVENT))
_KEPT = tuple(name for name in Schedule._fields[:10])
"""The fields of a schedule that an outbox inserts, before `at_least_once`."""


class Outlet(Protocol):
    """The outbox of one database."""

    dialect: Dialect
    sign: str
    """The sign for a value in its statements."""

    def identity(self) -> Steps[Identity]:
        """The identity of the database that is asked; () if it has not our tables."""
        ...

    def write(self, rows: Sequence[OutboxRow], wake: str | None) -> Steps[None]:
        """`OutboxWriter.write`."""
        ...


def answered(steps: Steps[T], ask: Callable[[str, Sequence[Any]], Rows]) -> T:
    """The answer of *steps*, whose statements *ask* runs."""
    try:
        found = ask(*next(steps))
        while True:
            found = ask(*steps.send(found))
    except StopIteration as stop:
        answer: T = stop.value
        return answer


def payload_of(namespace: str) -> str:
    """What a notice says of *namespace*: the server takes at most 8,000 bytes."""
    return hashlib.sha256(namespace.encode()).hexdigest()[:16]


def lock_of(namespace: str, schema: str) -> int:
    """The key of the advisory lock that its sweeper holds while it rests."""
    digest = hashlib.sha256(f"fullresult {schema} {namespace}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


class PostgreSQLOutlet:
    """In *schema*, whatever the caller's `search_path`."""

    dialect: Dialect = "postgresql"
    sign = "%s"

    def __init__(self, sql: dict[str, str], schema: str) -> None:
        values = ", ".join(
            f"(e.{name} #>> '{{}}')::{texts.JSON[name]}" if name in texts.JSON else f"e.{name}"
            for name in texts.columns(_EVENT)
        )
        self._has_tables = _in_schema(sql["has_tables"], schema)
        self._identity = _in_schema(sql["identity"], schema)
        outbox = sql["outbox"].replace("{columns}", _COLUMNS).replace("{values}", values)
        self._silent = _in_schema(outbox.replace("{tell}", "NULL"), schema)
        self._telling = _in_schema(outbox.replace("{tell}", sql["tell"]), schema)
        self._schema = schema

    def identity(self) -> Steps[Identity]:
        ((table,),) = yield self._has_tables, ()
        if table is None:
            return ()
        ((own, *others),) = yield self._identity, ()
        return tuple(map(_text, (own, *others))) if own else ()

    def write(self, rows: Sequence[OutboxRow], wake: str | None) -> Steps[None]:
        events = [row.event for row in rows if row.event is not None]
        schedules = ", ".join(json.dumps(_schedule(row)) for row in rows)
        given = f'"schedules": [{schedules}], "events": {texts.events_json(events, _EVENT)}'
        if wake is None:  # which takes the right to no function
            yield self._silent, (f"{{{given}}}",)
            return
        told = f'"wake": "{payload_of(wake)}", "lock": {self.lock_of(wake)}'
        yield self._telling, (f"{{{given}, {told}}}",)

    def lock_of(self, namespace: str) -> int:
        """The key of the advisory lock that the sweeper of *namespace* holds while it rests."""
        return lock_of(namespace, self._schema)


class SQLiteOutlet:
    """In the file *path*, under whatever name it is attached."""

    dialect: Dialect = "sqlite"
    sign = "?"

    def __init__(self, sql: dict[str, str], path: Path) -> None:
        self._sql = sql
        self._path = path
        self._event = sql["outbox_event"].replace("{columns}", _COLUMNS)
        self._event = self._event.replace("{values}", statements.one(_EVENT, "?"))

    def identity(self) -> Steps[Identity]:
        schema = yield from self._schema()
        if schema is None:
            return ("", "another file")
        ((own,),) = yield _in_schema(self._sql["identity"], schema), ()
        place = self._path.stat()
        return str(own or ""), f"{place.st_dev}:{place.st_ino}"

    def write(self, rows: Sequence[OutboxRow], wake: str | None) -> Steps[None]:  # noqa: ARG002
        schema = yield from self._schema()
        assert schema is not None, "its identity was not asked for"
        for row in rows:
            schedule = row.schedule
            if row.delay is not None:  # the file's clock is that of its processes
                now = cut(datetime.now(timezone.utc))
                schedule = schedule._replace(due=now + row.delay)
            known = [*texts.texts(schedule[: len(_KEPT)]), int(bool(schedule.at_least_once))]
            yield _in_schema(self._sql["outbox_schedule"], schema), known
            if row.event is not None:
                yield _in_schema(self._event, schema), _event(row.event)

    def _schema(self) -> Steps[str | None]:
        attached = yield self._sql["attached"], ()
        for _, name, file in attached:
            if file and Path(file).exists() and self._path.samefile(file):
                return '"' + str(name).replace('"', '""') + '"'
        return None


class MemoryOutlet(SQLiteOutlet):
    """In a database in memory, as Django's tests have it: only its tables tell it from others."""

    def __init__(self, sql: dict[str, str]) -> None:
        super().__init__(sql, Path())

    def identity(self) -> Steps[Identity]:
        ((own,),) = yield _in_schema(self._sql["identity"], "main"), ()
        return (str(own or ""),)

    def _schema(self) -> Steps[str | None]:
        yield from ()
        return "main"


def _in_schema(sql: str, schema: str) -> str:
    return sql.replace("{schema}", schema).replace("{quoted}", schema.replace("'", "''"))


def _text(value: str | bytes | None) -> str:
    """The text of a value: bytes, where the encoding of a session of psycopg is SQL_ASCII."""
    return value.decode() if isinstance(value, bytes) else str(value or "")


def _event(event: TaskRecord) -> list[Any]:
    return [*texts.natives(texts.values(event, _EVENT))]


def _schedule(row: OutboxRow) -> dict[str, Any]:
    schedule = row.schedule
    known = texts.as_object(_KEPT, texts.texts(schedule[: len(_KEPT)]))
    delay = {} if row.delay is None else {"delay": row.delay.total_seconds()}
    return {**known, **delay, "at_least_once": bool(schedule.at_least_once)}
