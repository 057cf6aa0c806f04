"""`stale-scheduled`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from fullresult.cli import ages, limits
from fullresult.cli.help import Command
from fullresult.cli.schedule_table import schedule_document, show_schedules
from fullresult.cli.terminal import bold, say
from fullresult.cli.which_app import full_of
from fullresult.insight.document import dumps, plain
from fullresult.insight.overdue import is_being_sent
from fullresult.insight.safe_text import one_line
from fullresult.insight.words import count_of, local_exactly, span

if TYPE_CHECKING:
    from fullresult.extension import FullResult
    from fullresult.record.schedule import Schedule


class Part(NamedTuple):
    """Some of what is overdue, what that means, and what to do."""

    schedules: Sequence[Schedule]
    meaning: str
    remedy: str


@click.command(
    "stale-scheduled",
    cls=Command,
    examples=["stale-scheduled --hours 1", "stale-scheduled --older-than 5m --json"],
)
@ages.how_long
@limits.limit
@limits.as_json
@click.pass_context
def stale_scheduled(context: click.Context, /, limit: int, as_json: bool, **lengths: Any) -> None:
    """List what is overdue and was not sent.

    The exit code is 3 if there is any. Some of it a sweeper claimed and never marked sent: it died
    in between, and nobody knows whether the task was sent. The rest nobody claimed: no sweeper is
    at work. Too long is what the options add up to, else `fullresult_stale_after` (1 hour).

    In a pipe it is lines as of `scheduled`. With --json it is one object: `schedules`, `more`
    (whether --limit left some out), `namespace` (of this app's broker) and `last_sweep` (when a
    sweeper was last at work for it; null if never).
    """
    full = full_of(context)
    age = ages.age(lengths)
    with ages.within_time(age):
        found = full.get_stale_scheduled_tasks(age, limit=limit + 1)
    schedules, more = found[:limit], len(found) > limit
    last_sweep = full.storage.last_sweep(full.settings.namespace)
    if as_json:
        say(
            dumps(
                {
                    "schedules": [schedule_document(schedule) for schedule in schedules],
                    "more": more,
                    "namespace": full.settings.namespace,
                    "last_sweep": plain(last_sweep),
                }
            )
        )
    else:
        _show(full, schedules, age)
        if more:
            limits.say_limit_was_reached(limit)
        say(_last(full, last_sweep), err=True)
    if schedules:
        context.exit(limits.FOUND)


def _show(full: FullResult, schedules: Sequence[Schedule], age: timedelta | None) -> None:
    if not schedules:
        waited = full.settings.stale_after if age is None else age
        waited_for = span(waited.total_seconds())
        say(f"Nothing is overdue: all that was due {waited_for} ago is sent.", err=True)
    for part in _parts(full, schedules):
        if part.schedules:
            say(bold(f"{count_of(len(part.schedules))} {part.meaning}"), err=True)
            show_schedules(full, part.schedules)
            say(part.remedy, err=True)


def _parts(full: FullResult, schedules: Sequence[Schedule]) -> list[Part]:
    namespace, now = full.settings.namespace, full.storage.now()
    ours = [schedule for schedule in schedules if schedule.namespace == namespace]
    claimed = [schedule for schedule in ours if schedule.claimed]
    return [
        Part(
            [schedule for schedule in claimed if not is_being_sent(schedule, now)],
            "claimed and never marked sent: maybe sent, maybe not.",
            "`show ID` says whether it ran. `resend-scheduled ID` sends one now, `release ID` "
            "gives it back to the sweepers; a task that was sent before is then sent twice.",
        ),
        Part(
            [schedule for schedule in claimed if is_being_sent(schedule, now)],
            "claimed within the last minute: about to be sent.",
            "Look again in a minute.",
        ),
        Part(
            [schedule for schedule in ours if not schedule.claimed],
            "due and never claimed: no sweeper is at work, or it is behind.",
            f"{_who_sweeps(full)}; or send what is due now: celery -A proj fullresult sweep",
        ),
        Part(
            [schedule for schedule in schedules if schedule.namespace != namespace],
            f"for another broker than this app's, which is {one_line(namespace)!r}.",
            "The sweepers of the apps that made them send those. If this broker got another URL, "
            "set fullresult_namespace to the namespace they have.",
        ),
    ]


def _who_sweeps(full: FullResult) -> str:
    return {
        "worker": 'Start a worker: fullresult_sweeper is "worker"',
        "beat": 'Start beat and a worker: fullresult_sweeper is "beat"',
        "off": 'fullresult_sweeper is "off": run `celery -A proj fullresult sweep --loop`',
    }[full.settings.sweeper]


def _last(full: FullResult, last_sweep: datetime | None) -> str:
    if last_sweep is None:
        return "No sweeper of this app was ever at work."
    ago = (full.storage.now() - last_sweep).total_seconds()
    return (
        f"A sweeper of this app was last at work {span(max(ago, 0))} ago "
        f"({local_exactly(last_sweep)})."
    )
