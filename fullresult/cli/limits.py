"""What listings have in common: their options, and how they say that there is more."""

from __future__ import annotations

import shlex

import click

from fullresult.cli.terminal import say
from fullresult.insight.safe_text import safe

FOUND = 3
"""The exit code of a listing that is to fail where it finds anything."""

limit = click.option(
    "--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, with every field.")
fail = click.option("--fail", is_flag=True, help=f"Exit with code {FOUND} if there are any.")


def say_what_follows(cursor: str) -> None:
    say(f"More follow: --after {shlex.quote(safe(cursor))}", err=True)


def say_limit_was_reached(limit: int) -> None:
    say(f"More follow: --limit {limit} was reached.", err=True)


def fail_over(context: click.Context, found: str, *, more: bool) -> None:
    """End with `FOUND`, and say how many were *found*, or that there are more."""
    say(f"{'More than ' if more else ''}{found}.", err=True)
    context.exit(FOUND)
