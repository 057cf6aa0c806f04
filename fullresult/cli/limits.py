"""The options that listings share, and the hint that more follow."""

from __future__ import annotations

import shlex

import click

from fullresult.cli.terminal import say
from fullresult.insight.safe_text import safe

FOUND = 3
"""The exit code of a listing with `--fail` that found something."""

limit = click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="List at most this many.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, with every field.")
fail = click.option("--fail", is_flag=True, help=f"Exit with code {FOUND} if there are any.")


def say_what_follows(cursor: str) -> None:
    say(f"More follow: --after {shlex.quote(safe(cursor))}", err=True)


def say_limit_was_reached(limit: int) -> None:
    say(f"More follow: --limit {limit} was reached.", err=True)


def fail_over(context: click.Context, found: str, *, more: bool) -> None:
    """End with the exit code `FOUND`, and say how many were *found*."""
    say(f"{'More than ' if more else ''}{found}.", err=True)
    context.exit(FOUND)
