"""`overview`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from fullresult.cli import limits
from fullresult.cli.help import Command
from fullresult.cli.table import Column, bounded, show_rows
from fullresult.cli.terminal import is_terminal, say
from fullresult.cli.typed_values import when
from fullresult.cli.which_app import full_of, reading_of
from fullresult.insight.abilities import abilities_of
from fullresult.insight.counts import StateCounts
from fullresult.insight.document import dumps
from fullresult.insight.documents import overview_document
from fullresult.insight.words import brief, count_of, span

if TYPE_CHECKING:
    from fullresult.insight.overview import Overview
    from fullresult.insight.statistics import Percentiles, TaskStatistics


@click.command(cls=Command, examples=["overview", "overview --since 1h --buckets 12 --json"])
@click.option(
    "--since", type=when, help="Of tasks created since: 2h, '7d ago', … Without it, 1 day ago."
)
@click.option("--until", type=when, help="Of tasks created before; like --since.")
@click.option(
    "--buckets",
    type=click.IntRange(1, 500),
    default=24,
    show_default=True,
    help="Cut the time into this many parts, for --json.",
)
@limits.as_json
@click.pass_context
def overview(
    context: click.Context,
    /,
    since: datetime | None,
    until: datetime | None,
    buckets: int,
    as_json: bool,
) -> None:
    """Show how the tasks are doing: how many, how fast, what fails and what is late.

    Every task of the time is counted by its name; the lengths of time are those of the newest 5,000
    at most. States are of all tasks, whenever created: none is counted beyond 1,000, and what has a
    + may be more.

    On a terminal this is a table of tasks by name. In a pipe, each line is a name, with tabs
    between its fields, and the first line names them: waits and times to run are in seconds, of 50,
    95 and 99 % of the tasks at most. With --json it is one object.
    """
    full = full_of(context)
    try:
        found = reading_of(context).overview(since or timedelta(days=1), until, buckets=buckets)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        say(dumps(overview_document(found)))
        return
    if not is_terminal():
        say("\t".join(_FIELDS))
    show_rows(found.statistics.tasks, _COLUMNS, _fields)
    for line in _summary(found):
        say(line, err=True)
    if abilities_of(full.storage).workers:
        fleet = full.workers(running=False)
        gone = f"{count_of(fleet.alive, 'worker')} alive, {fleet.gone:,} gone"
        say(f"Workers: {gone}; {count_of(fleet.orphans, 'orphan')}.", err=True)


def _summary(found: Overview) -> list[str]:
    lines = []
    if found.statistics.sampled:
        total = found.statistics.total
        lines.append(
            f"WAIT and RUN are of {total.looked_at:,} of the {total.tasks:,} tasks, the newest of "
            "each part of the time."
        )
    counts = StateCounts(found.states, found.cap, found.at_least)
    states = [f"{counts.shown(state)} {state}" for state, n in found.states.items() if n]
    lines.append(f"States: {', '.join(states) or 'no task is recorded'}.")
    more = "+" if found.stale_at_least else ""
    stale = f"{_capped(found.stale, found.cap)}{more} stale"
    late = f"{_capped(found.stale_scheduled, found.cap)} overdue and not sent"
    if found.stale_in_outbox:
        late += f" ({_capped(found.stale_in_outbox, found.cap)} in an outbox)"
    lag = span(found.sweeper_lag.total_seconds())
    lines.append(f"Late: {stale}, {late}; sweepers are {lag} behind.")
    return lines


def _capped(number: int, cap: int) -> str:
    return f"{number:,}{'+' if number >= cap else ''}"


_FIELDS = (
    *("name", "tasks", "published", "started", "succeeded", "failed", "dropped", "retried"),
    *("wait_50", "wait_95", "wait_99", "run_50", "run_95", "run_99"),
)


def _fields(task: TaskStatistics) -> Sequence[str]:
    total = task.total
    numbers = (
        *(total.tasks, total.published, total.started, total.succeeded),
        *(total.failed, total.dropped, total.retried),
    )
    return bounded((task.name, *map(str, numbers), *_seconds(total.wait), *_seconds(total.run)))


def _seconds(found: Percentiles | None) -> Sequence[str | None]:
    if found is None:
        return (None,) * 3
    return [f"{seconds:.3f}" for seconds in (found.p50, found.p95, found.p99)]


def _half(found: Percentiles | None) -> str:
    return "" if found is None else f"{span(found.p50)} / {span(found.p95)}"


_COLUMNS: tuple[Column[TaskStatistics], ...] = (
    Column(
        "TASK", lambda task: "all others" if task.name is None else brief(task.name), elastic=True
    ),
    Column("TASKS", lambda task: f"{task.total.tasks:,}"),
    Column("FAILED", lambda task: f"{task.total.failed:,}" if task.total.failed else ""),
    Column("RETRIED", lambda task: f"{task.total.retried:,}" if task.total.retried else ""),
    Column("WAIT, 50/95 %", lambda task: _half(task.total.wait)),
    Column("RUN, 50/95 %", lambda task: _half(task.total.run)),
)
