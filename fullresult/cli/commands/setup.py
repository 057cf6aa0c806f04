"""`setup`."""

from __future__ import annotations

import click

from fullresult.cli.errors import Failure
from fullresult.cli.help import Command
from fullresult.cli.terminal import say
from fullresult.cli.which_app import full_of
from fullresult.config import Settings, without_password


@click.command(cls=Command, examples=["setup", "setup --sql | psql …"])
@click.option("--sql", is_flag=True, help="Print the SQL for an empty database; change nothing.")
@click.pass_context
def setup(context: click.Context, /, sql: bool) -> None:
    """Create or upgrade the tables, or what the storage has instead.

    It is needed only if `fullresult_auto_setup` is False. It may be repeated.
    """
    full = full_of(context, makes_file=True)
    shown = without_password(Settings.of(full.app).storage)
    if not sql:
        full.setup()
        say(f"{shown} is ready.")
        return
    from fullresult.plugins import schema_sql

    text = schema_sql(Settings.of(full.app))
    if text is None:
        raise Failure(f"{shown} needs no SQL; run `setup` without --sql")
    say(text.rstrip("\n"))
