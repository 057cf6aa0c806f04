"""How far a command is: a bar on a terminal, nothing in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from fullresult.cli.terminal import is_terminal


@contextmanager
def progress(total: int, label: str, unit: str | None = None) -> Iterator[Callable[[int], None]]:
    """A function to call with the number that was done since the last call.

    With a *unit* the bar also says how many of them are done in a second.
    """
    if not is_terminal(err=True):
        yield lambda _: None
        return
    began, done = time.monotonic(), 0

    def rate(_: object) -> str | None:
        passed = time.monotonic() - began
        return f"{done / passed:,.0f} {unit}s/s" if unit and passed else None

    with click.progressbar(
        length=total, label=label, show_pos=True, item_show_func=rate, file=sys.stderr
    ) as bar:

        def advance(more: int) -> None:
            nonlocal done
            done += more
            bar.update(more, more)

        yield advance


@contextmanager
def counting(label: str) -> Iterator[Callable[[int], None]]:
    """The same without a total."""
    if not is_terminal(err=True):
        yield lambda _: None
        return
    total = 0

    def advance(more: int) -> None:
        nonlocal total
        total += more
        click.echo(f"\r{label} {total:,}", nl=False, err=True)

    try:
        yield advance
    finally:
        click.echo("", err=True)
