"""`resend-scheduled` and `release`, for schedules that were claimed and never marked sent."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from fullresult.cli import ages
from fullresult.cli.acting import deeds_of
from fullresult.cli.help import Command
from fullresult.cli.ids import whole
from fullresult.cli.preview import SHOWN, preview_schedules
from fullresult.cli.report import Words, act
from fullresult.cli.terminal import say
from fullresult.cli.which_app import full_of
from fullresult.cli.yes import yes_option
from fullresult.insight.overdue import Overdue, schedules_of
from fullresult.insight.words import count_of, span

if TYPE_CHECKING:
    from collections.abc import Callable

    from fullresult.extension import FullResult
    from fullresult.record.schedule import Schedule


class Chosen(NamedTuple):
    """The ids of the chosen tasks, and the schedules of the first few."""

    ids: list[str]
    schedules: list[Schedule]


def _which(what: str) -> Callable[[Any], Any]:
    options = (
        click.argument("ids", nargs=-1, metavar="[ID]…", callback=whole),
        click.option("--all", "everything", is_flag=True, help=f"All {what} for too long."),
        ages.how_long,
        click.option(
            "--limit",
            type=click.IntRange(min=1),
            help="With --all: at most this many, the first due first.",
        ),
        yes_option,
    )

    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@click.command(
    "resend-scheduled",
    cls=Command,
    examples=["resend-scheduled 3f0c9a4e-…", "resend-scheduled --all --hours 1"],
)
@_which("that are due and not sent")
@click.pass_context
def resend_scheduled(context: click.Context, /, yes: bool, **options: Any) -> None:
    """Send scheduled tasks now, each under its own id.

    It is for tasks that a sweeper claimed and never marked sent: it died in between, and it is not
    known whether the task was sent. If it was, it is now sent twice. Name the ids, or say --all for
    the tasks that are due for too long: for the sum of the options, or without any for
    `fullresult_stale_after` (1 hour). What was claimed within the last minute is left to its
    sweeper. You see the tasks before anything is sent.

    Prints the id of each task that was sent. A task that cannot be sent is reported, the others go
    on, and the exit code is 1.
    """
    full = full_of(context)
    chosen = _chosen(full, options, claimed=None)
    if chosen.ids and not yes:
        preview_schedules(full, chosen.schedules, len(chosen.ids), "send now")
        _ask("Send", chosen)

    act(
        Words("Sending", "sent"),
        len(chosen.ids),
        lambda pace: deeds_of(full).send_each_now(chosen.ids, pace),
    )


@click.command(cls=Command, examples=["release 3f0c9a4e-…", "release --all --hours 1"])
@_which("that were claimed and not marked sent")
@click.pass_context
def release(context: click.Context, /, yes: bool, **options: Any) -> None:
    """Give claimed tasks back to the sweepers.

    It is for tasks that a sweeper claimed and never marked sent: it died in between, and it is not
    known whether the task was sent. If it was, the next sweep sends it again. Name the ids, or say
    --all for the tasks that are due and claimed for too long: for the sum of the options, or
    without any for `fullresult_stale_after` (1 hour). What was claimed within the last minute is
    left to its sweeper. You see the tasks before anything is released.

    Prints the id of each released task. A task that is not claimed is reported, the others go on,
    and the exit code is 1.
    """
    full = full_of(context)
    chosen = _chosen(full, options, claimed=True)
    if chosen.ids and not yes:
        preview_schedules(full, chosen.schedules, len(chosen.ids), "release")
        _ask("Release", chosen)

    act(
        Words("Releasing", "released"),
        len(chosen.ids),
        lambda pace: deeds_of(full).release(chosen.ids, pace),
    )


def _ask(verb: str, chosen: Chosen) -> None:
    twice = " What was sent already runs twice." if any(s.claimed for s in chosen.schedules) else ""
    click.confirm(f"{verb} {count_of(len(chosen.ids))}?{twice}", abort=True, err=True)


def _chosen(full: FullResult, options: dict[str, Any], *, claimed: bool | None) -> Chosen:
    ids, everything, limit = options["ids"], options["everything"], options["limit"]
    age = ages.age(options)
    if not everything and (age is not None or limit):
        raise click.UsageError("a length of time and --limit need --all")
    if bool(ids) == everything:
        raise click.UsageError("say which tasks: either ids or --all")
    if ids:
        unique = list(dict.fromkeys(ids))
        return Chosen(
            unique, [s for task_id in unique[:SHOWN] for s in schedules_of(full.storage, task_id)]
        )
    age = full.settings.stale_after if age is None else age
    found = _take(islice(Overdue(full.storage, full.settings).to_send(age, claimed=claimed), limit))
    if not found.ids:
        what = "overdue and claimed" if claimed else "overdue"
        say(
            f"Nothing is {what} for {span(age.total_seconds())}; claims of the last minute are "
            "left to their sweepers.",
            err=True,
        )
    return found


def _take(schedules: Iterator[Schedule]) -> Chosen:
    """All ids, and the first `SHOWN` schedules: there may be many, and they may be large."""
    first: list[Schedule] = []
    ids: dict[str, None] = {}
    for schedule in schedules:
        if len(first) < SHOWN:
            first.append(schedule)
        ids[schedule.task_id] = None
    return Chosen(list(ids), first)
