"""`audit`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from fullresult.cli import limits
from fullresult.cli.help import Command
from fullresult.cli.ids import whole
from fullresult.cli.table import Column, bounded, show_rows
from fullresult.cli.terminal import say
from fullresult.cli.typed_values import audit_cursor, when
from fullresult.cli.which_app import full_of
from fullresult.insight.document import dumps, plain
from fullresult.insight.documents import audit_document
from fullresult.insight.safe_text import safe
from fullresult.insight.words import brief, count_of, local

if TYPE_CHECKING:
    from fullresult.record.audit import AuditEntry


@click.command(cls=Command, examples=["audit --since '1d ago'", "audit --action resend --json"])
@click.option("--actor", help="Done by this person.")
@click.option("--action", help="This action: resend, cancel, delete, trigger, …")
@click.option("--task-id", metavar="ID", callback=whole, help="Done to this task.")
@click.option("--since", type=when, help="Done since: 2h, '1d ago', 2026-01-31T14:00 (local time).")
@click.option("--until", type=when, help="Done before; like --since.")
@limits.limit
@click.option("--after", type=audit_cursor, metavar="CURSOR", help="Go on where a listing ended.")
@limits.as_json
@click.pass_context
def audit(context: click.Context, /, limit: int, as_json: bool, **asked: Any) -> None:
    """List what people did to tasks, the newest first.

    It has what commands, web pages and calls of the API did, and what failed: who, when, to which
    tasks.

    On a terminal this is a table. In a pipe, each line is an audit entry, with tabs between its
    fields: when (UTC), who, what, outcome, how many tasks, the first of their ids, details as JSON.
    With --json it is one object: `entries`, and `next`, the cursor for --after (null at the end).
    """
    found = full_of(context).audit_log(limit=limit + 1, **asked)
    entries = found[:limit]
    cursor = entries[-1].cursor if len(found) > limit else None
    if as_json:
        say(dumps({"entries": [audit_document(entry) for entry in entries], "next": cursor}))
        return
    show_rows(entries, _COLUMNS, _fields)
    if cursor:
        limits.say_what_follows(cursor)
    if not entries:
        say("The audit log has no such entry.", err=True)


def _fields(entry: AuditEntry) -> Sequence[str]:
    return bounded(
        (
            entry.at.isoformat(timespec="milliseconds"),
            entry.actor,
            entry.action,
            entry.outcome,
            str(len(entry.task_ids)),
            next(iter(entry.task_ids), None),
            json.dumps(plain(entry.details)),
        )
    )


def _tasks(entry: AuditEntry) -> str:
    if len(entry.task_ids) == 1:
        return safe(entry.task_ids[0])
    return count_of(len(entry.task_ids)) if entry.task_ids else ""


def _details(entry: AuditEntry) -> str:
    return brief(" ".join(f"{name}={value}" for name, value in entry.details.items()))


_COLUMNS: tuple[Column[AuditEntry], ...] = (
    Column("WHEN", lambda entry: local(entry.at)),
    Column("WHO", lambda entry: brief(entry.actor)),
    Column("DID", lambda entry: brief(entry.action)),
    Column("OUTCOME", lambda entry: brief(entry.outcome)),
    Column("TASKS", _tasks),
    Column("DETAILS", _details, elastic=True),
)
