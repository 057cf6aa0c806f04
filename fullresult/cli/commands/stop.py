"""`revoke` and `terminate`, for tasks that were sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fullresult.actions.audit import actor_here
from fullresult.actions.stopping import SIGNALS, Signal, Stopping
from fullresult.cli.acting import say_unwritten
from fullresult.cli.help import Command
from fullresult.cli.ids import whole
from fullresult.cli.preview import SHOWN
from fullresult.cli.report import Words, act
from fullresult.cli.table import show_records
from fullresult.cli.terminal import say
from fullresult.cli.which_app import full_of
from fullresult.cli.yes import yes_option
from fullresult.insight.words import count_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fullresult.extension import FullResult

_ids = click.argument("ids", nargs=-1, metavar="ID…", callback=whole, required=True)


@click.command(cls=Command, examples=["revoke 3f0c9a4e-…"])
@_ids
@yes_option
@click.pass_context
def revoke(context: click.Context, /, ids: tuple[str, ...], yes: bool) -> None:
    """Have workers drop tasks that have not begun.

    Every living worker is told, and has to confirm it. They remember it until they end; a worker
    that starts later runs the task, unless it has a `--statedb`. A task that runs, that has ended,
    or that waits in the storage is reported, the others go on, and the exit code is 1.

    Prints the id of each revoked task.
    """
    full = full_of(context)
    chosen = list(dict.fromkeys(ids))
    _ask(full, chosen, "revoke", yes)
    act(Words("Revoking", "revoked"), len(chosen), lambda pace: _of(full).revoke(chosen, pace))


@click.command(cls=Command, examples=["terminate 3f0c9a4e-…", "terminate 3f… --signal SIGKILL"])
@_ids
@click.option(
    "--signal",
    type=click.Choice(SIGNALS),
    default="SIGTERM",
    help="Sent to the process in which it runs.",
)
@yes_option
@click.pass_context
def terminate(context: click.Context, /, ids: tuple[str, ...], signal: Signal, yes: bool) -> None:
    """End tasks that run, with their processes.

    What such a task has begun to do is half done. Its worker must have the pool prefork, eventlet,
    or gevent (Celery 5.5 or newer); others cannot end one task. A task that does not run, or whose
    worker is gone, is reported, the others go on, and the exit code is 1.

    Prints the id of each terminated task.
    """
    full = full_of(context)
    chosen = list(dict.fromkeys(ids))
    _ask(full, chosen, "terminate", yes)
    act(
        Words("Terminating", "terminated"),
        len(chosen),
        lambda pace: _of(full).terminate(chosen, signal, pace),
    )


def _of(full: FullResult) -> Stopping:
    return full.stopping(actor_here("command line", unwritten=say_unwritten))


def _ask(full: FullResult, ids: Sequence[str], verb: str, yes: bool) -> None:
    records = [record for task_id in ids[:SHOWN] if (record := full.get(task_id)) is not None]
    is_none = not records and len(ids) <= SHOWN
    if yes or is_none:  # of none there is nothing to ask, and the report says why
        return
    say(f"About to {verb} {count_of(len(ids))}:", err=True)
    show_records(records, err=True, table=True)
    if len(ids) > SHOWN:
        say(f"… and {len(ids) - SHOWN:,} more", err=True)
    click.confirm(f"{verb.capitalize()} {count_of(len(ids))}?", abort=True, err=True)
