"""`list` and `count`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from fullresult.cli import filters, limits
from fullresult.cli.help import Command
from fullresult.cli.table import show_records
from fullresult.cli.terminal import say
from fullresult.cli.which_app import reading_of
from fullresult.config import without_password
from fullresult.insight.document import document, dumps
from fullresult.insight.unresolved import unresolved_first

if TYPE_CHECKING:
    from fullresult.extension.reading import Reading
    from fullresult.storage import TaskQuery


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
@filters.dealt_with
@filters.page
@limits.as_json
@click.pass_context
def list_(context: click.Context, /, as_json: bool, everything: bool, **options: Any) -> None:
    """List tasks, the newest first.

    Of tasks that ended badly, those are left out that are dealt with: they were sent again since,
    or somebody resolved their group. --all lists them, too.

    On a terminal this is a table. In a pipe, each line is a task, with tabs between its fields: id,
    state, name, created (UTC), seconds it ran, retries, queue, worker, call, how it ended. With
    --json it is one object: `tasks`, and `next`, the cursor for --after (null at the end).
    """
    limit = options["limit"]
    order = "oldest" if options["oldest_first"] else "newest"
    query = filters.query(options, limit=limit + 1, after=options["after"], order=order)
    reading = reading_of(context)
    found = reading.find(query if everything else unresolved_first(query))
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
        _say_nothing(reading, query, everything)


def _say_nothing(reading: Reading, query: TaskQuery, everything: bool) -> None:
    is_narrowed = not everything and query != unresolved_first(query)
    if is_narrowed and reading.find(replace(query, limit=1)):
        say("All such tasks are dealt with; --all lists them.", err=True)
        return
    say(
        f"No such task is recorded in {without_password(reading.parts.settings.storage)}.", err=True
    )


@click.command(cls=Command, examples=["count --state FAILURE --since '1d ago'"])
@filters.which
@filters.dealt_with
@click.pass_context
def count(context: click.Context, /, everything: bool, **options: Any) -> None:
    """Count tasks; of those that ended badly, what is not dealt with. --all counts all."""
    query = filters.query(options)
    number = reading_of(context).count(query if everything else unresolved_first(query))
    if not number:
        filters.explain_nothing(options)
    say(str(number))
