"""`setup`."""

from __future__ import annotations

from dataclasses import replace

import click

from fullresult.cli.errors import Failure
from fullresult.cli.help import Command
from fullresult.cli.terminal import say
from fullresult.cli.which_app import full_of
from fullresult.config import Settings, without_password


@click.command(cls=Command, examples=["setup", "setup --sql | psql …", "setup --outbox shop"])
@click.option("--sql", is_flag=True, help="Print the SQL for an empty database; change nothing.")
@click.option("--outbox", metavar="NAME", help="In the database of one of fullresult_outboxes.")
@click.pass_context
def setup(context: click.Context, /, sql: bool, outbox: str | None) -> None:
    """Create or upgrade the tables, or what the storage has instead.

    It is needed only if `fullresult_auto_setup` is False. It may be repeated.
    """
    full = full_of(context, makes_file=True)
    settings = Settings.of(full.app)
    if outbox is not None:
        try:
            settings = replace(settings, storage=settings.outbox_url(outbox))
        except LookupError as error:
            raise Failure(str(error.args[0])) from None
    shown = without_password(settings.storage)
    if not sql:
        full.setup(outbox)
        say(f"{shown} is ready.")
        return
    from fullresult.plugins import schema_sql

    text = schema_sql(settings)
    if text is None:
        raise Failure(f"{shown} needs no SQL; run `setup` without --sql")
    say(text.rstrip("\n"))
