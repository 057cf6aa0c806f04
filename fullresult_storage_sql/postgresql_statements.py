"""PostgreSQL's statements for events, put together at import, and their parameters."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from fullresult.record import TaskRecord
from fullresult_storage_sql import rows, statements
from fullresult_storage_sql.database import Joining
from fullresult_storage_sql.rows import Kind, Parameter

SQL = statements.read("postgresql.sql")

Statements = dict[tuple[Kind, bool], str]
"""By the kind of event, and by whether there are entries."""


def _writes(relaxed: str) -> Statements:
    """The statement for an event."""
    return {
        (kind, has_entries): statements.numbered(
            (SQL["entries"] + "\n" if has_entries else "") + _write(kind) + relaxed
        )
        for kind, has_entries in _EACH
    }


def _batches() -> Statements:
    """The same for many events at once: answers each id, and whether its message is missing."""
    return {
        (kind, has_entries): statements.numbered(
            (SQL["batch_entries"] + "\n" if has_entries else "") + _for_many(kind)
        )
        for kind, has_entries in _EACH
    }


def _for_many(kind: Kind) -> str:
    of_each = ", ".join(
        f"(e.{name} #>> '{{}}')::{rows.JSON[name]}" if name in rows.JSON else f"e.{name}"
        for name in rows.columns(kind)
    )
    write = statements.write(SQL, kind, SQL["batch"].format(columns=of_each))
    return write.replace("RETURNING ", "RETURNING t.task_id, ")


def _schedules() -> Statements:
    """The same with a schedule; durable whatever the role's or database's defaults."""
    return {
        (kind, has_entries): statements.numbered(
            (SQL["entries"] + ", " if has_entries else "WITH ")
            + SQL["schedule"]
            + "\n"
            + _write(kind)
            + f", ({SQL['durable']})"
        )
        for kind, has_entries in _EACH
    }


def _ends_of_members() -> Statements:
    """The same with a member that joins a chord; it answers for both."""
    return {
        (kind, has_entries): statements.numbered(
            (SQL["entries"] + ", " if has_entries else "WITH ")
            + SQL["write_and_join"].format(joining=SQL["joining"], write=_write(kind))
        )
        for kind, has_entries in _EACH
    }


def _write(kind: Kind) -> str:
    return statements.write(SQL, kind, statements.one(kind, "%s"))


_EACH = [(kind, has_entries) for kind in rows.KINDS for has_entries in (True, False)]
WRITES = _writes("")
# Set in RETURNING, which costs no round trip of its own.
RELAXED_WRITES = _writes(", set_config('synchronous_commit', 'off', true)")
BATCHES = _batches()
SCHEDULES = _schedules()
ENDS_OF_MEMBERS = _ends_of_members()
RESULTS = statements.numbered(SQL["get_results"])
ENDED = {key: statements.numbered(sql) for key, sql in statements.ended(SQL).items()}
SUCCESSES = statements.numbered(SQL["get_successes"])
COMPLETED_BY = statements.numbered(SQL["completed_by"])
JOIN = statements.numbered(SQL["join_chord"].format(joining=SQL["joining"]))


def of_event(
    event: TaskRecord, writes: Statements, before: Sequence[Parameter] = ()
) -> tuple[str, list[Parameter]]:
    kind = rows.kind_of(event)
    sql, values = writes[kind, bool(event.entries)], rows.parameters(event, kind)
    if event.entries:
        return sql, [event.task_id, rows.entries_json(event.entries), *before, *values]
    return sql, [*before, *values]


def join_parameters(joining: Joining) -> list[Parameter]:
    chord_id, member, size, expires, call = joining
    return [chord_id, member, None if size is None else str(size), call, expires]


def of_batch(events: Sequence[TaskRecord]) -> tuple[str, list[str]]:
    kind = rows.kind_of_all(events)
    has_entries = any(event.entries for event in events)
    before = [rows.all_entries_json(events)] if has_entries else []
    return BATCHES[kind, has_entries], [*before, rows.events_json(events, kind)]


def array(ids: Collection[str]) -> str:
    """*ids* as PostgreSQL writes an array."""
    quoted = (each.replace("\\", "\\\\").replace('"', '\\"') for each in ids)
    return "{" + ",".join(f'"{each}"' for each in quoted) + "}"
