"""`list` and `count`."""

from __future__ import annotations

from typing import Any

import click

from fullresult.cli import filters, limits
from fullresult.cli.help import Command
from fullresult.cli.table import show_records
from fullresult.cli.terminal import say
from fullresult.cli.which_app import full_of
from fullresult.config import without_password
from fullresult.insight.document import document, dumps


@click.command(
    "list",
    cls=Command,
    examples=[
        "list --state FAILURE --since 2h",
        "list --name 'shop.*' --kwarg order_id=7",
        "list --text timeout --json | jq '.tasks[].task_id'",
    ],
)
@filters.which
@filters.page
@limits.as_json
@click.pass_context
def list_(context: click.Context, /, as_json: bool, **options: Any) -> None:
    """List tasks, the newest first.

    On a terminal this is a table. In a pipe, each line is a task, with tabs between its fields: id,
    state, name, created (UTC), seconds it ran, retries, queue, worker, call, how it ended. With
    --json it is one object: `tasks`, and `next`, the cursor for --after (null at the end).
    """
    full, limit = full_of(context), options["limit"]
    order = "oldest" if options["oldest_first"] else "newest"
    query = filters.query(options, limit=limit + 1, after=options["after"], order=order)
    found = full.find(query)
    records = found[:limit]
    cursor = records[-1].cursor if len(found) > limit else None
    if not records:
        filters.explain_nothing(options)
    if as_json:
        say(dumps({"tasks": [document(record) for record in records], "next": cursor}))
        return
    show_records(records)
    if cursor:
        limits.say_what_follows(cursor)
    if not records:
        say(f"No such task is recorded in {without_password(full.settings.storage)}.", err=True)


@click.command(cls=Command, examples=["count --state FAILURE --since '1d ago'"])
@filters.which
@click.pass_context
def count(context: click.Context, /, **options: Any) -> None:
    """Count tasks."""
    number = full_of(context).count(filters.query(options))
    if not number:
        filters.explain_nothing(options)
    say(str(number))
