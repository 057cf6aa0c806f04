"""`stale`."""

from __future__ import annotations

from typing import Any

import click

from fullresult.cli import ages, limits
from fullresult.cli.help import Command
from fullresult.cli.table import STALE_COLUMNS, show_records
from fullresult.cli.terminal import say
from fullresult.cli.typed_values import state
from fullresult.cli.which_app import full_of
from fullresult.insight.document import document, dumps
from fullresult.insight.words import count_of, span


@click.command(
    cls=Command,
    short_help="List tasks that have not moved for long",
    examples=[
        "stale --hours 1",
        "stale --older-than 90m --fail   # for cron and monitoring",
        "stale --days 1 --terminal-state SUCCESS --terminal-state FAILURE",
    ],
)
@ages.how_long
@click.option(
    "--terminal-state",
    "acceptable",
    multiple=True,
    type=state,
    help="A state that counts as finished, instead of Celery's. Repeatable.",
)
@limits.limit
@limits.as_json
@limits.fail
@click.pass_context
def stale(
    context: click.Context,
    /,
    acceptable: tuple[str, ...],
    limit: int,
    as_json: bool,
    fail: bool,
    **lengths: Any,
) -> None:
    """List tasks that neither finished nor moved for too long, the oldest first.

    Too long is the sum of the options, or without any `fullresult_stale_after` (1 hour). A task
    that waits for its ETA is not stale before it is due.

    With --json it is one object: `tasks`, and `more` (true if --limit left some out).
    """
    full = full_of(context)
    age = ages.age(lengths)
    found = full.get_stale_tasks(age, acceptable or None, limit=limit + 1)
    records, more = found[:limit], len(found) > limit
    if as_json:
        say(dumps({"tasks": [document(record) for record in records], "more": more}))
    else:
        show_records(records, STALE_COLUMNS)
        if more:
            limits.say_limit_was_reached(limit)
        if not records:
            waited = full.settings.stale_after if age is None else age
            say(f"No task is stale: none stood still for {span(waited.total_seconds())}.", err=True)
    if fail and records:
        limits.fail_over(context, f"{count_of(len(records))} stale", more=more)
