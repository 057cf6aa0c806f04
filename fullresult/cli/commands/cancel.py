"""`cancel`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from fullresult.actions.audit import filters_of
from fullresult.cli import filters
from fullresult.cli.acting import deeds_of
from fullresult.cli.help import Command
from fullresult.cli.ids import whole
from fullresult.cli.preview import SHOWN, preview_schedules
from fullresult.cli.report import Words, act
from fullresult.cli.terminal import say
from fullresult.cli.which_app import full_of
from fullresult.cli.yes import yes_option
from fullresult.insight.overdue import schedules_of, walk
from fullresult.insight.words import count_of
from fullresult.record.schedule import Schedule, ScheduleQuery

if TYPE_CHECKING:
    from fullresult.extension import FullResult


@click.command(
    cls=Command, examples=["cancel 3f0c9a4e-…", "cancel --name 'shop.*' --kwarg order_id=7"]
)
@click.argument("ids", nargs=-1, metavar="[ID]…", callback=whole)
@filters.which
@click.option("--limit", type=click.IntRange(min=1), help="At most this many, the first due first.")
@yes_option
@click.pass_context
def cancel(
    context: click.Context, /, ids: tuple[str, ...], limit: int | None, yes: bool, **options: Any
) -> None:
    """Cancel scheduled tasks, after showing which.

    They are never sent, and end as REVOKED. Name their ids, or choose them by the options. You see
    them before anything is cancelled. A task that a sweeper has claimed, or that was sent, cannot
    be cancelled. It is reported, the others go on, and the exit code is 1.

    Prints the id of each cancelled task.
    """
    full = full_of(context)
    by_filter = bool(filters.given(options))
    if ids and (by_filter or limit):
        raise click.UsageError("give ids or filters, not both")
    if not ids and not by_filter:
        raise click.UsageError(
            "say which tasks: ids, or filters such as --name 'shop.*' (--state SCHEDULED: all)"
        )
    chosen, number = _by_id(full, ids, yes) if ids else _by_filter(full, options, limit, yes)
    asked = None if ids else filters_of(filters.query(options))
    act(
        Words("Cancelling", "cancelled"),
        number,
        lambda pace: deeds_of(full).cancel(chosen, asked, pace),
    )


def _by_id(full: FullResult, ids: Sequence[str], yes: bool) -> tuple[Sequence[str], int]:
    unique = list(dict.fromkeys(ids))
    found = (each for task_id in unique for each in schedules_of(full.storage, task_id))
    shown = list(islice(found, SHOWN))
    if shown and not yes:  # without any there is nothing to ask for, and the report says why
        _ask(full, shown, len(unique))
    return unique, len(unique)


def _by_filter(
    full: FullResult, options: dict[str, Any], limit: int | None, yes: bool
) -> tuple[Iterable[str], int]:
    query = filters.query(options)
    number = full.count_scheduled(query)
    number = number if limit is None else min(number, limit)
    if not number:
        say("No such task is scheduled; nothing is cancelled.", err=True)
        filters.explain_nothing(options)
    elif not yes:
        _ask(full, full.scheduled(query, limit=min(SHOWN, number)), number)
    return islice(_unique(walk(full.storage, ScheduleQuery(tasks=query))), number), number


def _ask(full: FullResult, schedules: Sequence[Schedule], number: int) -> None:
    preview_schedules(full, schedules, number, "cancel")
    click.confirm(f"Cancel {count_of(number)} for good?", abort=True, err=True)


def _unique(schedules: Iterable[Schedule]) -> Iterator[str]:
    """The ids of their tasks, each once: a task may have several schedules."""
    seen: set[str] = set()
    for schedule in schedules:
        if schedule.task_id not in seen:
            seen.add(schedule.task_id)
            yield schedule.task_id
