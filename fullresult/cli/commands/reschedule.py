"""`reschedule`."""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from fullresult.actions.schedules import why_not
from fullresult.cli.audited import write_down
from fullresult.cli.errors import Failure
from fullresult.cli.help import Command
from fullresult.cli.terminal import say
from fullresult.cli.typed_values import length, moment
from fullresult.cli.which_app import full_of
from fullresult.insight.safe_text import safe
from fullresult.insight.words import local_exactly


@click.command(
    cls=Command,
    examples=[
        "reschedule 3f0c9a4e-… --countdown 2h",
        "reschedule 3f0c9a4e-… --eta 2030-01-31T14:00",
        "reschedule 3f0c9a4e-… --eta now",
    ],
)
@click.argument("task_id", metavar="ID")
@click.option(
    "--eta",
    type=moment,
    metavar="WHEN",
    help="Then: 2026-01-31T14:00 (local time, unless it names another), 'in 2h', now.",
)
@click.option(
    "--countdown", type=length, metavar="LENGTH", help="So long from now: 90m, 1h30m, 2d."
)
@click.pass_context
def reschedule(
    context: click.Context, /, task_id: str, eta: datetime | None, countdown: timedelta | None
) -> None:
    """Move a scheduled task to another time.

    It may be sooner or later; if that time is past, it is sent at once. A task that a sweeper has
    claimed, or that was sent, stays as it is, and the exit code is 1.
    """
    if (eta is None) == (countdown is None):
        raise click.UsageError("say when: either --eta or --countdown")
    full = full_of(context)
    if countdown is not None:
        # Due times are judged by the storage's clock.
        eta = full.storage.now() + countdown
    assert eta is not None
    if not full.reschedule(task_id, eta):
        raise Failure(why_not(full, task_id))
    write_down(full, "reschedule", [task_id], {"eta": eta.isoformat()})
    past = ": a sweeper sends it at once" if eta < full.storage.now() else ""
    say(f"{safe(task_id)} is due at {local_exactly(eta)}{past}.")
