"""Errors as one sentence and an exit code instead of a traceback."""

from __future__ import annotations

from typing import IO, Any

import click
from celery.exceptions import ImproperlyConfigured

from fullresult.cli.help import Command, Sections
from fullresult.cli.terminal import say
from fullresult.insight.safe_text import one_line
from fullresult.storage import StorageError

META, REACHED = "fullresult.door", "reached"
"""Where `python -m fullresult` learns that Celery has imported the app and come to a command."""


class Failure(click.ClickException):
    """Ends the command with its message and the exit code 1."""

    def show(self, file: IO[Any] | None = None) -> None:  # noqa: ARG002  (click's signature)
        say(f"Error: {one_line(self.message)}", err=True)


class Commands(Command, Sections):
    """Commands whose expected errors are sentences."""

    def invoke(self, ctx: click.Context) -> Any:
        ctx.meta.get(META, {})[REACHED] = True
        try:
            return super().invoke(ctx)
        except (ImproperlyConfigured, StorageError) as error:
            raise Failure(str(error)) from error
