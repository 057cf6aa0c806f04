"""The options that say how long is too long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

import click

from fullresult.cli.typed_values import length
from fullresult.insight.dates import bounded

F = TypeVar("F", bound=Callable[..., Any])

_UNITS = ("weeks", "days", "hours", "minutes", "seconds", "microseconds")


def how_long(command: F) -> F:
    """Add the options. The command gets them as keywords, and gives those to `age`."""
    command = click.option(
        "--older-than", type=length, metavar="LENGTH", help="The same in one word: 90m, 1h30m, 2d."
    )(command)
    for unit in reversed(_UNITS):
        command = click.option(
            f"--{unit}", type=click.FloatRange(min=0), help="Added to the others."
        )(command)
    return command


def age(options: Mapping[str, Any]) -> timedelta | None:
    """The sum of the options; None if none is given. Raises click's `UsageError`."""
    older_than: timedelta | None = options["older_than"]
    given = {unit: options[unit] for unit in _UNITS if options[unit] is not None}
    if not given:
        return older_than
    try:
        return bounded(timedelta(**given) + (older_than or timedelta(0)))
    except (OverflowError, ValueError) as error:
        words = " ".join(f"--{unit} {value:g}" for unit, value in given.items())
        raise click.UsageError(f"{words} is no length of time: {error}") from error
