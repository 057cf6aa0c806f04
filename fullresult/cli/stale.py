"""`stale`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from fullresult.cli.app import full_of
from fullresult.cli.document import document, dumps
from fullresult.cli.help import Command
from fullresult.cli.table import STALE_COLUMNS, show_records
from fullresult.cli.terminal import say
from fullresult.cli.values import length, state
from fullresult.cli.words import count_of, span

FOUND = 3
_UNITS = ("weeks", "days", "hours", "minutes", "seconds", "microseconds")


def _units(command: Any) -> Any:
    for unit in reversed(_UNITS):
        command = click.option(
            f"--{unit}", type=click.FloatRange(min=0), help="Adds to the others."
        )(command)
    return command


@click.command(
    cls=Command,
    examples=[
        "stale --hours 1",
        "stale --older-than 90m --fail   # for cron and monitoring",
        "stale --days 1 --terminal-state SUCCESS --terminal-state FAILURE",
    ],
)
@_units
@click.option(
    "--older-than", type=length, metavar="LENGTH", help="The same in one word: 90m, 1h30m, 2d."
)
@click.option(
    "--terminal-state",
    "acceptable",
    multiple=True,
    type=state,
    help="Not stale in this state; replaces the states that end a task. Repeatable.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every field.")
@click.option("--fail", is_flag=True, help=f"Exit with code {FOUND} if there are any.")
@click.pass_context
def stale(
    context: click.Context,
    /,
    older_than: timedelta | None,
    acceptable: tuple[str, ...],
    limit: int,
    as_json: bool,
    fail: bool,
    **units: float | None,
) -> None:
    """List tasks that neither finished nor moved for too long, the oldest first.

    Too long is what the options add up to, else `fullresult_stale_after` (1 hour). A task that
    waits for its ETA is not stale before it is due.

    With --json it is one object: `tasks`, and `more`, whether --limit left some out.
    """
    full = full_of(context)
    age = _age(older_than, units)
    try:
        found = full.get_stale_tasks(age, acceptable or None, limit=limit + 1)
    except OverflowError as error:
        raise click.UsageError(f"{age} is before the beginning of time") from error
    records, more = found[:limit], len(found) > limit
    if as_json:
        say(dumps({"tasks": [document(record) for record in records], "more": more}))
    else:
        show_records(records, STALE_COLUMNS)
        if more:
            say(f"More follow: --limit {limit} was reached.", err=True)
        if not records:
            waited = full.settings.stale_after if age is None else age
            say(f"No task is stale: none stood still for {span(waited.total_seconds())}.", err=True)
    if fail and records:
        say(f"{'More than ' if more else ''}{count_of(len(records))} stale.", err=True)
        context.exit(FOUND)


def _age(older_than: timedelta | None, units: dict[str, float | None]) -> timedelta | None:
    given = {unit: value for unit, value in units.items() if value is not None}
    if not given:
        return older_than
    try:
        return timedelta(**given) + (older_than or timedelta(0))
    except (OverflowError, ValueError) as error:
        words = " ".join(f"--{unit} {value:g}" for unit, value in given.items())
        raise click.UsageError(f"{words} is no length of time: {error}") from error
