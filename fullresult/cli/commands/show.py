"""`show`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fullresult.cli.errors import Failure
from fullresult.cli.help import Command
from fullresult.cli.ids import whole
from fullresult.cli.record_page import page_of
from fullresult.cli.terminal import say
from fullresult.cli.which_app import full_of
from fullresult.insight.document import dumps
from fullresult.insight.documents import task_document
from fullresult.insight.overdue import schedules_of

if TYPE_CHECKING:
    from fullresult.record import TaskRecord

_SENT_AGAIN = 20


@click.command(cls=Command, examples=["show 3f0c9a4e-…", "show 3f0c9a4e-… --json | jq .kwargs"])
@click.argument("task_id", metavar="ID", callback=whole)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every field, uncut.")
@click.pass_context
def show(context: click.Context, /, task_id: str, as_json: bool) -> None:
    """Show one task in full.

    It shows the timeline, the schedules, every execution with its traceback, the arguments, the
    result, routing, links and headers. Dates are local. Long texts are cut; --json prints all.
    """
    full = full_of(context)
    record = full.get(task_id)
    schedules = schedules_of(full.storage, task_id)
    if record is None:
        scheduled = "; it is scheduled, see `scheduled`" if schedules else ""
        raise Failure(
            f"no task {task_id!r} is recorded{scheduled}; `list --text …` finds part of an id"
        )
    if as_json:
        say(dumps(task_document(record, schedules)))
        return
    again: list[TaskRecord] = full.find(retry_of=task_id, order="oldest", limit=_SENT_AGAIN)
    for line in page_of(record, again, schedules):
        say(line)
