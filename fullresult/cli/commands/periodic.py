"""`periodic` and `trigger`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from fullresult.cli import limits
from fullresult.cli.acting import deeds_of
from fullresult.cli.errors import Failure
from fullresult.cli.help import Command
from fullresult.cli.table import Column, bounded, show_rows
from fullresult.cli.terminal import say
from fullresult.cli.which_app import full_of
from fullresult.insight.document import document, dumps, plain
from fullresult.insight.safe_text import safe
from fullresult.insight.words import brief, local
from fullresult.record.encoding import safe_str

if TYPE_CHECKING:
    from fullresult.insight.periodic import PeriodicTask

_scheduler = click.option(
    "--scheduler",
    "-S",
    metavar="CLASS",
    help="That of beat, where it is told on beat's command line and not by `beat_scheduler`.",
)


@click.command(cls=Command, examples=["periodic", "periodic --json | jq '.[].name'"])
@_scheduler
@limits.as_json
@click.pass_context
def periodic(context: click.Context, /, scheduler: str | None, as_json: bool) -> None:
    """List the periodic tasks, and how each last went.

    They are the entries of `beat_schedule`, those of `add_periodic_task`, and those that beat's
    scheduler keeps elsewhere, as django-celery-beat does.

    On a terminal this is a table. In a pipe it is one line an entry with tabs between: name, task,
    schedule, enabled (yes or no), next due (UTC), and of its last run: id, state, created (UTC),
    and whether the record names the entry ("entry") or only the task ("task"). With --json it is a
    list of objects.
    """
    from fullresult.insight.periodic import SchedulerError

    full = full_of(context)
    try:
        found = full.periodic(scheduler)
    except SchedulerError as error:
        raise Failure(safe_str(error)) from error
    if as_json:
        say(dumps([_document(entry) for entry in found]))
        return
    show_rows(found, _COLUMNS, _fields)
    if not found:
        say("No periodic task is known: beat_schedule is empty.", err=True)


@click.command(cls=Command, examples=["trigger 'every morning'"])
@click.argument("name", metavar="NAME")
@_scheduler
@click.pass_context
def trigger(context: click.Context, /, name: str, scheduler: str | None) -> None:
    """Send a periodic task now, as beat would.

    NAME is that of the entry, as `periodic` lists it. Beat goes on as before: it sends the task
    again when it is due. Prints the id of the task sent.
    """
    full = full_of(context)
    try:
        result = deeds_of(full).trigger(name, scheduler)
    except Exception as error:  # of the broker's library, or of what makes an argument
        raise Failure(safe_str(error)) from error
    say(safe(str(result.id)))


def _document(entry: PeriodicTask) -> dict[str, Any]:
    known: dict[str, Any] = {k: plain(v) for k, v in vars(entry).items() if k != "last_run"}
    last = entry.last_run
    return {**known, "last_run": None if last is None else document(last)}


def _fields(entry: PeriodicTask) -> Sequence[str]:
    last, due = entry.last_run, entry.next_due
    return bounded(
        (
            entry.name,
            entry.task,
            entry.schedule,
            "yes" if entry.enabled else "no",
            due.isoformat(timespec="milliseconds") if due else None,
            last.task_id if last else None,
            last.state if last else None,
            last.date_created.isoformat(timespec="milliseconds") if last else None,
            entry.last_run_by,
        )
    )


def _last(entry: PeriodicTask) -> str:
    return "" if entry.last_run is None else local(entry.last_run.date_created)


def _state(entry: PeriodicTask) -> str:
    return "" if entry.last_run is None else safe(entry.last_run.state)


def _next(entry: PeriodicTask) -> str:
    if not entry.enabled:
        return "disabled"
    return "" if entry.next_due is None else local(entry.next_due)


_COLUMNS: tuple[Column[PeriodicTask], ...] = (
    Column("NAME", lambda entry: brief(entry.name), elastic=True),
    Column("SCHEDULE", lambda entry: brief(entry.schedule)),
    Column("NEXT", _next),
    Column("LAST", _last),
    Column("STATE", _state, state=_state),
    Column("TASK", lambda entry: brief(entry.task), elastic=True),
)
