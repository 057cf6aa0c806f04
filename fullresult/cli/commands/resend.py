"""`resend`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from fullresult.actions.batch import sending
from fullresult.actions.missing import Missing, Part
from fullresult.cli import ages, filters
from fullresult.cli.audited import Log
from fullresult.cli.help import Command
from fullresult.cli.preview import preview
from fullresult.cli.report import Run, Verb
from fullresult.cli.table import show_records
from fullresult.cli.terminal import is_terminal, say
from fullresult.cli.which_app import full_of
from fullresult.insight.safe_text import safe
from fullresult.insight.words import count_of
from fullresult.record import TaskRecord, pages

if TYPE_CHECKING:
    from fullresult.extension import FullResult

_BATCH = 100
_KINDS = ("stale", "stale_scheduled", "orphans")


@click.command(
    cls=Command,
    examples=[
        "resend 3f0c9a4e-…",
        "resend --state FAILURE --name 'shop.*' --since 2h",
        "resend --orphans --dry-run",
        "resend --stale --stale-scheduled --orphans --older-than 2h",
    ],
)
@click.argument("ids", nargs=-1, metavar="[ID]…")
@click.option("--stale", is_flag=True, help="What neither finished nor moved for too long.")
@click.option("--stale-scheduled", is_flag=True, help="What is due for too long and was not sent.")
@click.option("--orphans", is_flag=True, help="What was running on a worker that is gone.")
@ages.how_long
@filters.which
@click.option("--limit", type=click.IntRange(min=1), help="At most so many, the oldest first.")
@click.option("--dry-run", is_flag=True, help="Show what would be sent, and send nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def resend(
    context: click.Context,
    /,
    ids: tuple[str, ...],
    limit: int | None,
    dry_run: bool,
    yes: bool,
    **options: Any,
) -> None:
    """Send recorded tasks again, exactly as they were, each under a new id.

    Name their ids, or say which by the options; you see them before anything is sent. --stale,
    --stale-scheduled and --orphans, alone or together, are for what went missing; the other options
    narrow them. Too long is what the lengths of time add up to, else `fullresult_stale_after` (1
    hour); with one, an orphan's worker has to be gone for as long. What is stale-scheduled is sent
    under its own id. What was sent again before, what a living worker runs, and what moves on
    while you look is left alone.

    A task that cannot be sent again is reported, the others go on, and the exit code is 1.

    Prints a line for each task sent: its id, a tab, its new id. With --dry-run, in a pipe, it is
    the id of each that would be.
    """
    full = full_of(context)
    run = Run(Verb("Sending", "sent"), Log(full, "resend", _told(options)))
    missing = any(options[kind] for kind in _KINDS)
    _check(ids, limit, options, missing=missing)
    how = How(dry_run, yes)
    if missing:
        _send_missing(full, run, options, limit, how)
    elif ids:
        _send(full, run, *_by_id(full, run, ids, how), how)
    else:
        _send(full, run, *_by_filter(full, run, options, limit, how), how)
    run.report()


def _told(options: dict[str, Any]) -> dict[str, Any]:
    """What the audit log is told of the options."""
    missing = [kind for kind in _KINDS if options[kind]]
    return {**filters.told(options), **({"missing": missing} if missing else {})}


class How(NamedTuple):
    """Whether anything is sent, and whether somebody is asked before."""

    dry_run: bool
    yes: bool

    @property
    def shows(self) -> bool:
        return self.dry_run or not self.yes

    def ask(self, question: str) -> None:
        """Raises click's `Abort` where the answer is no."""
        if not self.dry_run:
            click.confirm(question, abort=True, err=True)


def _check(
    ids: tuple[str, ...], limit: int | None, options: dict[str, Any], *, missing: bool
) -> None:
    by_filter = bool(filters.given(options)) or missing
    if ids and (by_filter or limit):
        raise click.UsageError("give ids or filters, not both")
    if ages.age(options) is not None and not missing:
        raise click.UsageError("a length of time needs --stale, --stale-scheduled or --orphans")
    if not ids and not by_filter:
        raise click.UsageError(
            "say which tasks: ids, filters such as --state FAILURE --since 2h, or --orphans"
        )


def _send_missing(
    full: FullResult, run: Run, options: dict[str, Any], limit: int | None, how: How
) -> None:
    age = ages.age(options)
    query = filters.query(options) if filters.given(options) else None
    missing = Missing(full, query, age, limit)
    parts = missing.find(
        overdue=options["stale_scheduled"], orphans=options["orphans"], stale=options["stale"]
    )
    chosen = [(part, task_id) for part in parts for task_id in part.stamps]
    if not chosen:
        say("Nothing of that kind is missing; nothing is sent.", err=True)
        filters.explain_nothing(options)
    elif how.shows:
        for part in parts:
            part.preview()
        how.ask(f"Send {count_of(len(chosen))}?{missing.warning}")
    if how.dry_run:
        _print_ids(task_id for _, task_id in chosen)
        return

    def send(item: tuple[Part, str]) -> tuple[str, str]:
        part, task_id = item
        new = part.send(task_id, part.stamps[task_id])
        run.log.note(task_id, new)
        return new, _line(task_id, new)

    run.each(chosen, len(chosen), send)


def _by_id(
    full: FullResult, run: Run, ids: Sequence[str], how: How
) -> tuple[list[TaskRecord], int]:
    records = []
    for task_id in dict.fromkeys(ids):
        record = full.get(task_id)
        if record is None:
            run.failures.append(f"no task {task_id!r} is recorded")
        else:
            records.append(record)
    if records and how.shows:
        say(f"About to send again {count_of(len(records))}:", err=True)
        show_records(records, err=True, table=True)
        how.ask(_question(len(records)))
    return records, len(records)


def _by_filter(
    full: FullResult, run: Run, options: dict[str, Any], limit: int | None, how: How
) -> tuple[Iterator[TaskRecord], int]:
    query = filters.query(options, limit=_BATCH, order="oldest")
    number = full.count(query) if limit is None else min(full.count(query), limit)
    if not number:
        say("No such task is recorded; nothing is sent.", err=True)
        filters.explain_nothing(options)
    elif how.shows:
        preview(full, query, number, "send again")
        how.ask(_question(number))
    # What is sent now makes new records, which may match too, and not come last: clocks differ.
    old = (record for record in pages.walk(full.find, query) if record.task_id not in run.done)
    return islice(old, number), number


def _question(number: int) -> str:
    return f"Send {count_of(number)} again?"


def _send(full: FullResult, run: Run, records: Iterable[TaskRecord], number: int, how: How) -> None:
    if how.dry_run:
        _print_ids(record.task_id for record in records)
        return

    def send(record: TaskRecord) -> tuple[str, str]:
        with sending(record.task_id):
            new = str(full.resend(record).id)
        run.log.note(record.task_id, new)
        return new, _line(record.task_id, new)

    run.each(records, number, send)


def _print_ids(ids: Iterable[str]) -> None:
    """For programs: a person has seen them."""
    if not is_terminal():
        for task_id in ids:
            say(safe(task_id))


def _line(task_id: str, new: str) -> str:
    arrow = " → " if is_terminal() else "\t"
    return f"{safe(task_id)}{arrow}{safe(new)}"
