"""The option `--yes` of the commands that ask before they act."""

from __future__ import annotations

import click

# Eager: how ids are read depends on it, which may stand before it.
yes_option = click.option("--yes", is_flag=True, is_eager=True, help="Do not ask.")


def asks(context: click.Context) -> bool:
    """False with `--yes`."""
    return not context.params.get("yes")
