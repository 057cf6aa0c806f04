"""The `FullResult` of the app that `celery -A` names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fullresult.cli.errors import Failure

if TYPE_CHECKING:
    from fullresult.extension import FullResult


def full_of(context: click.Context) -> FullResult:
    """The `FullResult` of that app. Raises `Failure` if there is none."""
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
