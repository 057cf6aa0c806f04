"""How far a command is: a bar on a terminal, nothing in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from fullresult.cli.terminal import is_terminal


@contextmanager
def progress(total: int, label: str) -> Iterator[Callable[[int], None]]:
    """A function to call with the number that was done since the last call."""
    if not is_terminal(err=True):
        yield lambda _: None
        return
    with click.progressbar(length=total, label=label, show_pos=True, file=sys.stderr) as bar:
        yield bar.update


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
