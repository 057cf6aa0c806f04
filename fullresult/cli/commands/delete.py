"""`delete`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from fullresult.cli import filters
from fullresult.cli.acting import deeds_of
from fullresult.cli.help import Command
from fullresult.cli.ids import whole
from fullresult.cli.preview import preview
from fullresult.cli.progress import progress
from fullresult.cli.terminal import say
from fullresult.cli.which_app import full_of
from fullresult.cli.yes import yes_option
from fullresult.insight.unresolved import dealt_with_first
from fullresult.insight.words import count_of

_PORTION = 1000


@click.command(
    cls=Command, examples=["delete --state SUCCESS --until '30d ago'", "delete 3f0c9a4e-…"]
)
@click.argument("ids", nargs=-1, metavar="[ID…]", callback=whole)
@filters.which
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Every task, also what is not dealt with; needs no filter.",
)
@click.option("--limit", type=click.IntRange(min=1), help="At most this many, the oldest first.")
@yes_option
@click.pass_context
def delete(
    context: click.Context,
    /,
    ids: tuple[str, ...],
    everything: bool,
    limit: int | None,
    yes: bool,
    **options: Any,
) -> None:
    """Delete records, the oldest first, after showing which.

    Messages on the broker and results in a result backend stay. If the options ask for tasks that
    ended badly alone, as --state FAILURE does, those stay that are not dealt with, unless there is
    --all.
    """
    full = full_of(context)
    if not ids and not filters.given(options) and not everything:
        raise click.UsageError("say which tasks, or --all to delete every record")
    if ids and everything:
        raise click.UsageError("--all is for every record; these ids are deleted as they are")
    named = {"task_ids": ids} if ids else {}
    asked = filters.query(options, limit=_PORTION, order="oldest", **named)
    query = asked if everything else dealt_with_first(asked)
    number = full.count(query) if limit is None else min(full.count(query), limit)
    if not number:
        rest = query != asked and full.find(replace(asked, limit=1))
        which = "No such task is dealt with yet (--all)" if rest else "No such task is recorded"
        say(f"{which}; nothing is deleted.", err=True)
        filters.explain_nothing(options)
        return
    if not yes:
        preview(full, query, number, "delete")
        click.confirm(f"Delete {count_of(number, 'record')} for good?", abort=True, err=True)
    with progress(number, "Deleting") as advance:
        deleted = deeds_of(full).delete(query, number, _PORTION, advance)
    say(f"Deleted {count_of(deleted, 'record')}.")
