"""`delete`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fullresult.cli import filters
from fullresult.cli.audited import write_down
from fullresult.cli.help import Command
from fullresult.cli.preview import preview
from fullresult.cli.progress import progress
from fullresult.cli.terminal import say
from fullresult.cli.which_app import full_of
from fullresult.insight.words import count_of
from fullresult.storage import TaskQuery

if TYPE_CHECKING:
    from fullresult.extension import FullResult

_BATCH = 1000


@click.command(cls=Command, examples=["delete --state SUCCESS --until '30d ago'"])
@filters.which
@click.option("--all", "everything", is_flag=True, help="Every task, where no filter is given.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many, the oldest first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def delete(
    context: click.Context, /, everything: bool, limit: int | None, yes: bool, **options: Any
) -> None:
    """Delete records, the oldest first, after showing which.

    What a task left on the broker or in a result backend stays there.
    """
    full = full_of(context)
    if not filters.given(options) and not everything:
        raise click.UsageError("say which tasks, or --all to delete every record")
    query = filters.query(options, limit=_BATCH, order="oldest")
    number = full.count(query) if limit is None else min(full.count(query), limit)
    if not number:
        say("No such task is recorded.", err=True)
        filters.explain_nothing(options)
        return
    if not yes:
        preview(full, query, number, "delete")
        click.confirm(f"Delete {count_of(number, 'record')} for good?", abort=True, err=True)
    say(f"Deleted {count_of(_delete(full, query, number, filters.told(options)), 'record')}.")


def _delete(full: FullResult, query: TaskQuery, number: int, told: dict[str, Any]) -> int:
    deleted = 0
    try:
        with progress(number, "Deleting") as advance:
            while deleted < number:
                some = full.delete(query, limit=min(_BATCH, number - deleted))
                if not some:
                    break
                deleted += some
                advance(some)
    finally:
        # Also what was deleted before somebody lost patience.
        if deleted:
            write_down(full, "delete", details={**told, "deleted": deleted})
    return deleted
