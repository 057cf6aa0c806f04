"""`orphans`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import click

from fullresult.cli import ages, filters, limits
from fullresult.cli.help import Command
from fullresult.cli.table import Column, fields, short, show_rows
from fullresult.cli.terminal import say
from fullresult.cli.which_app import full_of
from fullresult.insight.document import dumps
from fullresult.insight.documents import orphan_document
from fullresult.insight.orphans import Orphan, Orphans
from fullresult.insight.safe_text import safe
from fullresult.insight.words import call, count_of, local

COLUMNS: tuple[Column[Orphan], ...] = (
    Column("WORKER GONE", lambda orphan: local(orphan.worker.gone_since)),
    Column("ID", lambda orphan: short(orphan.record.task_id)),
    Column(
        "STATE",
        lambda orphan: safe(orphan.record.state),
        state=lambda orphan: orphan.record.state,
    ),
    Column("TASK", lambda orphan: call(orphan.record), elastic=True),
    Column("WORKER", lambda orphan: safe(orphan.worker.name), elastic=True, below=True),
)


@click.command(
    cls=Command,
    short_help="List running tasks whose worker is gone",
    examples=["orphans", "orphans --fail   # for cron and monitoring", "orphans --worker w1@host"],
)
@filters.which
@ages.how_long
@limits.limit
@limits.as_json
@limits.fail
@click.pass_context
def orphans(
    context: click.Context, /, limit: int, as_json: bool, fail: bool, **options: Any
) -> None:
    """List tasks that were running when their worker was last heard of, the oldest first.

    The worker was killed, stopped before the tasks ended, or is cut off from the storage. A worker
    tells every `fullresult_heartbeat` (10 seconds) that it lives, and is gone after 2.5 times that.
    With a length of time, only tasks whose worker was last heard of so long ago are listed. Tasks
    that were sent again are left out.

    In a pipe, the fields are those of `list`, and when the worker was last heard of (UTC). With
    --json it is one object: `tasks`, each with `worker_gone_since` and `worker_stopped` (true if it
    said that it ended), and `more` (true if --limit left some out).
    """
    full = full_of(context)
    age = ages.age(options)
    lost = Orphans(full.storage, age)
    found = list(islice(lost.find(filters.query(options)), limit + 1))
    shown, more = found[:limit], len(found) > limit
    if not shown:
        filters.explain_nothing(options)
    if as_json:
        say(dumps({"tasks": [orphan_document(orphan) for orphan in shown], "more": more}))
    else:
        show_orphans(shown)
        if more:
            limits.say_limit_was_reached(limit)
        if not shown:
            say("No running task has lost its worker.", err=True)
    if fail and shown:
        limits.fail_over(context, count_of(len(shown), "orphan"), more=more)


def show_orphans(found: Sequence[Orphan], *, err: bool = False, table: bool | None = None) -> None:
    """Print *found*, as a table if *table* is True; without it, on a terminal."""
    show_rows(found, COLUMNS, _fields, err=err, table=table)


def _fields(orphan: Orphan) -> list[str]:
    gone = orphan.worker.gone_since.isoformat(timespec="milliseconds")
    return [*fields(orphan.record), gone]
