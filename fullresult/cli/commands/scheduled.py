"""`scheduled`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from fullresult.cli import filters, limits
from fullresult.cli.help import Command
from fullresult.cli.schedule_table import show_schedules
from fullresult.cli.terminal import say
from fullresult.cli.typed_values import moment, schedule_cursor
from fullresult.cli.which_app import full_of
from fullresult.config import without_password
from fullresult.insight.document import dumps
from fullresult.insight.documents import schedule_document
from fullresult.insight.scheduled_calls import calls_of


@click.command(
    cls=Command,
    examples=[
        "scheduled --name 'shop.*'",
        "scheduled --due-until 'in 2h'",
        "scheduled --claimed --json | jq '.schedules[].task_id'",
    ],
)
@filters.which
@click.option(
    "--claimed/--waiting",
    default=None,
    help="Claimed by a sweeper and not marked sent, or not claimed. Without either, both.",
)
@click.option(
    "--due-until",
    type=moment,
    metavar="WHEN",
    help="Due by then: 'in 2h', '10m ago', now, 2026-01-31T14:00 (local time).",
)
@limits.limit
@click.option(
    "--after", type=schedule_cursor, metavar="CURSOR", help="Go on where a listing ended."
)
@limits.as_json
@click.pass_context
def scheduled(
    context: click.Context,
    /,
    claimed: bool | None,
    due_until: datetime | None,
    limit: int,
    after: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """List scheduled tasks, the first due first.

    They wait in the storage until they are due. On a terminal this is a table. In a pipe, each line
    is a task, with tabs between its fields: id, due (UTC), name, queue, `waits` or `claimed`, since
    when (UTC), problem, namespace, call. With --json it is one object: `schedules`, and `next`,
    the cursor for --after (null at the end).
    """
    full = full_of(context)
    query = filters.query(options) if filters.given(options) else None
    found = full.scheduled(
        query, due_until=due_until, claimed=claimed, limit=limit + 1, after=after
    )
    schedules = found[:limit]
    cursor = schedules[-1].cursor if len(found) > limit else None
    if not schedules:
        filters.explain_nothing(options)
    if as_json:
        calls = calls_of(full.storage, schedules)
        shown = [schedule_document(each, calls.get(each.task_id)) for each in schedules]
        say(dumps({"schedules": shown, "next": cursor}))
        return
    show_schedules(full, schedules)
    if cursor:
        limits.say_what_follows(cursor)
    if not schedules:
        say(f"No such task is scheduled in {without_password(full.settings.storage)}.", err=True)
