"""`purge`."""

from __future__ import annotations

import click

from fullresult.cli.acting import deeds_of
from fullresult.cli.help import Command
from fullresult.cli.progress import counting
from fullresult.cli.terminal import say
from fullresult.cli.which_app import full_of
from fullresult.insight.words import count_of


@click.command(cls=Command, short_help="Delete the records that have expired", examples=["purge"])
@click.pass_context
def purge(context: click.Context, /) -> None:
    """Delete the records that have expired by `fullresult_retention`.

    It deletes small batches, and rests after each. Beat sends a task every hour that does the same;
    MongoDB does it by itself.
    """
    full = full_of(context)
    with counting("Deleted") as advance:
        deleted = deeds_of(full).purge(advance)
    say(f"Deleted {count_of(deleted, 'record')}.")
    if full.settings.retention is None:
        say("fullresult_retention is not set: what is recorded now is kept for good.", err=True)
