"""`reschedule`."""

from __future__ import annotations

from datetime import datetime, timedelta

import click

from fullresult.cli.acting import deeds_of
from fullresult.cli.errors import Failure
from fullresult.cli.help import Command
from fullresult.cli.ids import whole_unasked
from fullresult.cli.terminal import say
from fullresult.cli.typed_values import due, length
from fullresult.cli.which_app import full_of
from fullresult.insight.overdue import schedules_of
from fullresult.insight.safe_text import safe
from fullresult.insight.words import local_exactly


@click.command(
    cls=Command,
    examples=[
        "reschedule 3f0c9a4e-… --countdown 2h",
        "reschedule 3f0c9a4e-… --eta 2030-01-31T14:00",
        "reschedule 3f0c9a4e-… --eta now",
        "reschedule 3f0c9a4e-… --eta +1h",
    ],
)
@click.argument("task_id", metavar="ID", callback=whole_unasked)
@click.option(
    "--eta",
    type=due,
    metavar="WHEN",
    help="2026-01-31T14:00 (local time, unless it names another), 'in 2h', now; +1h: an hour "
    "later than it is due.",
)
@click.option(
    "--countdown", type=length, metavar="LENGTH", help="This long from now: 90m, 1h30m, 2d."
)
@click.pass_context
def reschedule(
    context: click.Context,
    /,
    task_id: str,
    eta: datetime | timedelta | None,
    countdown: timedelta | None,
) -> None:
    """Move a scheduled task to another time.

    The time may be sooner or later. If it is past, the task is sent at once. A task that a sweeper
    has claimed, or that was sent, stays as it is, and the exit code is 1.
    """
    if (eta is None) == (countdown is None):
        raise click.UsageError("say when: either --eta or --countdown")
    full = full_of(context)
    deeds = deeds_of(full)
    when = eta if countdown is None else deeds.due_after(countdown)
    assert when is not None
    for fate in deeds.reschedule([task_id], when).failed:
        raise Failure(str(fate.problem))
    if isinstance(when, timedelta):
        moved = [schedule.due for schedule in schedules_of(full.storage, task_id)]
        if not moved:  # A sweeper has sent it meanwhile.
            return
        when = moved[0]
    past = ": a sweeper sends it at once" if when <= deeds.now else ""
    say(f"{safe(task_id)} is due at {local_exactly(when)}{past}.")
