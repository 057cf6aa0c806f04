"""`celery -A proj fullresult …`: the memory of an app on the command line."""

from __future__ import annotations

import click

from fullresult.cli.delete import delete
from fullresult.cli.errors import Commands
from fullresult.cli.listing import count, list_
from fullresult.cli.resend import resend
from fullresult.cli.setup import setup
from fullresult.cli.show import show
from fullresult.cli.stale import stale

__all__ = ["fullresult"]


@click.group(cls=Commands, commands=[list_, show, count, stale, resend, delete, setup])
def fullresult() -> None:
    r"""Look into the memory of your tasks.

    Every task of the app is recorded in full: find it, see what happened to it, send it again.

    \b
    celery -A proj fullresult list --state FAILURE --since 2h
    celery -A proj fullresult show 3f0c9a4e-…
    celery -A proj fullresult resend --state FAILURE --name 'shop.*' --since 2h
    celery -A proj fullresult stale --hours 1

    Exit codes: 0 done; 1 it did not work, and one sentence says why; 2 wrong usage.
    """
