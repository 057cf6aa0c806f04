"""The `FullResult` of the app that `celery -A` names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fullresult.cli.errors import Failure
from fullresult.cli.terminal import say
from fullresult.insight.abilities import missing_file
from fullresult.insight.safe_text import one_line

if TYPE_CHECKING:
    from fullresult.extension import FullResult
    from fullresult.extension.reading import Reading


def full_of(context: click.Context, *, makes_file: bool = False) -> FullResult:
    """The `FullResult` of that app.

    Raises `Failure` if there is none, or no file of records yet, unless the command *makes_file*.
    """
    full = _installed(context)
    if not makes_file and (file := missing_file(full.storage)) is not None:
        raise Failure(
            f"there is no file {file}: nothing was recorded in it. Its directory must be that of "
            "your workers; the command setup makes an empty one"
        )
    return full


def reading_of(context: click.Context) -> Reading:
    """The records of that app to look through; says how far they are behind on a replica."""
    reading = full_of(context).reading
    if reading.behind is not None:
        say(one_line(reading.behind.sentence), err=True)
    return reading


def _installed(context: click.Context) -> FullResult:
    app = getattr(context.obj, "app", None)
    full: FullResult | None = getattr(app, "fullresult", None)
    if full is not None:
        return full
    if app is None or context.find_root().params.get("app") is None:
        raise Failure("which app? Name its module: celery -A proj fullresult …")
    raise Failure(
        f"the app {app.main or app!r} is not recorded; add two lines where it is made: "
        "from fullresult import FullResult; FullResult(app)"
    )
