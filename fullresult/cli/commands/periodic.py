"""`periodic` and `trigger`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from fullresult.cli import limits
from fullresult.cli.acting import deeds_of
from fullresult.cli.errors import Failure
from fullresult.cli.help import Command
from fullresult.cli.table import Column, bounded, show_rows
from fullresult.cli.terminal import say
from fullresult.cli.which_app import full_of
from fullresult.insight.document import dumps
from fullresult.insight.documents import periodic_document
from fullresult.insight.safe_text import safe
from fullresult.insight.words import brief, local
from fullresult.record.encoding import safe_str

if TYPE_CHECKING:
    from fullresult.insight.periodic import PeriodicTask

_scheduler = click.option(
    "--scheduler",
    "-S",
    metavar="CLASS",
    help="Beat's scheduler, if it is named on beat's command line and not by `beat_scheduler`.",
)


@click.command(cls=Command, examples=["periodic", "periodic --json | jq '.[].name'"])
@_scheduler
@limits.as_json
@click.pass_context
def periodic(context: click.Context, /, scheduler: str | None, as_json: bool) -> None:
    """List the periodic tasks, and how each last went.

    They are those of `beat_schedule` and of `add_periodic_task`, and those that beat's scheduler
    keeps elsewhere, as django-celery-beat does.

    On a terminal this is a table. In a pipe, each line is a periodic task, with tabs between its
    fields: name, task, schedule, enabled (yes or no), next due (UTC), and of its last run: id,
    state, created (UTC), and what the record names: the periodic task ("entry") or only its task
    ("task"). With --json it is a list of objects.
    """
    from fullresult.insight.periodic import SchedulerError

    full = full_of(context, makes_file=True)
    try:
        found = full.periodic(scheduler)
    except SchedulerError as error:
        raise Failure(safe_str(error)) from error
    if as_json:
        say(dumps([periodic_document(task) for task in found]))
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

    NAME is the one that `periodic` lists. Beat keeps its plan, and sends the task again when it is
    due. Prints the id of the task that was sent.
    """
    full = full_of(context, makes_file=True)
    try:
        result = deeds_of(full).trigger(name, scheduler)
    except Exception as error:  # of the broker's library, or of what makes an argument
        raise Failure(safe_str(error)) from error
    say(safe(str(result.id)))


def _fields(task: PeriodicTask) -> Sequence[str]:
    last, due = task.last_run, task.next_due
    return bounded(
        (
            task.name,
            task.task,
            task.schedule,
            "yes" if task.enabled else "no",
            due.isoformat(timespec="milliseconds") if due else None,
            last.task_id if last else None,
            last.state if last else None,
            last.date_created.isoformat(timespec="milliseconds") if last else None,
            task.last_run_by,
        )
    )


def _last(task: PeriodicTask) -> str:
    return "" if task.last_run is None else local(task.last_run.date_created)


def _state(task: PeriodicTask) -> str:
    return "" if task.last_run is None else safe(task.last_run.state)


def _next(task: PeriodicTask) -> str:
    if not task.enabled:
        return "disabled"
    return "" if task.next_due is None else local(task.next_due)


_COLUMNS: tuple[Column[PeriodicTask], ...] = (
    Column("NAME", lambda task: brief(task.name), elastic=True),
    Column("SCHEDULE", lambda task: brief(task.schedule)),
    Column("NEXT", _next),
    Column("LAST", _last),
    Column("STATE", _state, state=_state),
    Column("TASK", lambda task: brief(task.task), elastic=True),
)
