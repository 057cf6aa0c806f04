"""`stale-scheduled`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from fullresult.cli import ages, limits
from fullresult.cli.help import Command
from fullresult.cli.schedule_table import show_schedules
from fullresult.cli.terminal import bold, say
from fullresult.cli.which_app import full_of
from fullresult.insight.document import dumps
from fullresult.insight.documents import overdue_document
from fullresult.insight.overdue import Kind, Overdue
from fullresult.insight.safe_text import one_line
from fullresult.insight.scheduled_calls import calls_of
from fullresult.insight.words import count_of, local_exactly, span

if TYPE_CHECKING:
    from fullresult.config import Settings
    from fullresult.extension import FullResult
    from fullresult.record.schedule import Schedule


@click.command(
    "stale-scheduled",
    cls=Command,
    short_help="List scheduled tasks that were not sent",
    examples=["stale-scheduled --hours 1", "stale-scheduled --older-than 5m --json"],
)
@ages.how_long
@limits.limit
@limits.as_json
@click.pass_context
def stale_scheduled(context: click.Context, /, limit: int, as_json: bool, **lengths: Any) -> None:
    """List scheduled tasks that are due for too long and were not sent.

    The exit code is 3 if there are any. Some were claimed by a sweeper and never marked sent: it
    died in between, and it is not known whether the task was sent. The others were not claimed: no
    sweeper is at work. Too long is the sum of the options, or without any `fullresult_stale_after`
    (1 hour).

    In a pipe, the fields are those of `scheduled`. With --json it is one object: `schedules`,
    `more` (true if --limit left some out), `namespace` (of this app's broker) and `last_sweep`
    (when a sweeper was last at work for it; null if never).
    """
    full = full_of(context)
    age = ages.age(lengths)
    overdue = Overdue(full.storage, full.settings)
    found = overdue.page(age, limit + 1)
    schedules, more = found[:limit], len(found) > limit
    if as_json:
        say(
            dumps(
                overdue_document(schedules, overdue, calls_of(full.storage, schedules), more=more)
            )
        )
    else:
        _show(full, overdue, schedules, age)
        if more:
            limits.say_limit_was_reached(limit)
        say(_last(overdue), err=True)
    if schedules:
        context.exit(limits.FOUND)


def _show(
    full: FullResult, overdue: Overdue, schedules: list[Schedule], age: timedelta | None
) -> None:
    if not schedules:
        waited = full.settings.stale_after if age is None else age
        waited_for = span(waited.total_seconds())
        say(f"Nothing is overdue: all that was due {waited_for} ago is sent.", err=True)
    for kind, some in overdue.by_kind(schedules).items():
        ours = f", which is {one_line(overdue.namespace)!r}" if kind is Kind.FOREIGN else ""
        say(bold(f"{count_of(len(some))} {kind.meaning}{ours}."), err=True)
        show_schedules(full, some)
        say(_remedy(kind, full.settings), err=True)


def _remedy(kind: Kind, settings: Settings) -> str:
    return {
        Kind.CLAIMED: "`show ID` says whether it ran. `resend-scheduled ID` sends one now, "
        "`release ID` gives it back to the sweepers; a task that was sent before is then sent "
        "twice.",
        Kind.BEING_SENT: "Look again in a minute.",
        Kind.UNCLAIMED: f"{_SWEEPERS[settings.sweeper]}; or send what is due now: "
        "celery -A proj fullresult sweep",
        Kind.FOREIGN: "The sweepers of the apps that made them send those. If this broker got "
        "another URL, set fullresult_namespace to the namespace they have.",
    }[kind]


_SWEEPERS = {
    "worker": 'Start a worker: fullresult_sweeper is "worker"',
    "beat": 'Start beat and a worker: fullresult_sweeper is "beat"',
    "off": 'fullresult_sweeper is "off": run `celery -A proj fullresult sweep --loop`',
}


def _last(overdue: Overdue) -> str:
    last_sweep = overdue.last_sweep
    if last_sweep is None:
        return "No sweeper of this app was ever at work."
    ago = (overdue.now - last_sweep).total_seconds()
    return (
        f"A sweeper of this app was last at work {span(max(ago, 0))} ago "
        f"({local_exactly(last_sweep)})."
    )
