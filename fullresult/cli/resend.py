"""`resend`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from fullresult.cli import filters
from fullresult.cli.app import full_of
from fullresult.cli.help import Command
from fullresult.cli.preview import preview
from fullresult.cli.run import Run, Verb, sending
from fullresult.cli.table import show_records
from fullresult.cli.terminal import is_terminal, safe, say
from fullresult.cli.words import count_of
from fullresult.record import TaskRecord

if TYPE_CHECKING:
    from fullresult.extension import FullResult
    from fullresult.storage import TaskQuery

_BATCH = 100


@click.command(
    cls=Command, examples=["resend 3f0c9a4e-…", "resend --state FAILURE --name 'shop.*' --since 2h"]
)
@click.argument("ids", nargs=-1, metavar="[ID]…")
@filters.which
@click.option("--limit", type=click.IntRange(min=1), help="At most so many, the oldest first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def resend(
    context: click.Context, /, ids: tuple[str, ...], limit: int | None, yes: bool, **options: Any
) -> None:
    """Send recorded tasks again, exactly as they were, each under a new id.

    Name their ids, or say which by the options; you see them before anything is sent. A task that
    cannot be sent again is reported, the others go on, and the exit code is 1.

    Prints a line for each task sent: its id, a tab, its new id.
    """
    full = full_of(context)
    by_filter = bool(filters.given(options))
    if ids and (by_filter or limit):
        raise click.UsageError("give ids or filters, not both")
    if not ids and not by_filter:
        raise click.UsageError(
            "say which tasks: ids, or filters such as --state FAILURE --since 2h"
        )
    run = Run(Verb("Sending", "sent"))
    if ids:
        run.each(*_by_id(full, run, ids, yes), _sender(full))
    else:
        run.each(*_by_filter(full, run, options, limit, yes), _sender(full))
    run.report()


def _by_id(
    full: FullResult, run: Run, ids: Sequence[str], yes: bool
) -> tuple[list[TaskRecord], int]:
    records = []
    for task_id in dict.fromkeys(ids):
        record = full.get(task_id)
        if record is None:
            run.failures.append(f"no task {task_id!r} is recorded")
        else:
            records.append(record)
    if records and not yes:
        say(f"About to send again {count_of(len(records))}:", err=True)
        show_records(records, err=True, table=True)
        _confirm(len(records))
    return records, len(records)


def _by_filter(
    full: FullResult, run: Run, options: dict[str, Any], limit: int | None, yes: bool
) -> tuple[Iterator[TaskRecord], int]:
    query = filters.query(options, limit=_BATCH, order="oldest")
    number = full.count(query) if limit is None else min(full.count(query), limit)
    if not number:
        say("No such task is recorded; nothing is sent.", err=True)
        filters.explain_nothing(options)
    elif not yes:
        preview(full, query, number, "send again")
        _confirm(number)
    # What is sent now makes new records, which may match too, and not come last: clocks differ.
    old = (record for record in _pages(full, query) if record.task_id not in run.done)
    return islice(old, number), number


def _confirm(number: int) -> None:
    click.confirm(f"Send {count_of(number)} again?", abort=True, err=True)


def _pages(full: FullResult, query: TaskQuery) -> Iterator[TaskRecord]:
    while records := full.find(query):
        yield from records
        query = replace(query, after=records[-1].cursor)


def _sender(full: FullResult) -> Callable[[TaskRecord], tuple[str, str]]:
    arrow = " → " if is_terminal() else "\t"

    def send(record: TaskRecord) -> tuple[str, str]:
        with sending(record.task_id):
            new = str(full.resend(record).id)
        return new, f"{safe(record.task_id)}{arrow}{safe(new)}"

    return send
