"""`spool status` and `spool flush`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta, timezone

import click

from fullresult.cli import limits
from fullresult.cli.errors import Commands, Failure
from fullresult.cli.help import Command
from fullresult.cli.progress import progress
from fullresult.cli.terminal import say
from fullresult.cli.which_app import full_of
from fullresult.insight.document import dumps, plain
from fullresult.insight.safe_text import one_line
from fullresult.insight.words import count_of, span
from fullresult.outage.spool import SpoolStatus
from fullresult.storage import StorageError

_FRESH = timedelta(seconds=10)
"""The age up to which an event is about to be written, if its process lives."""


@click.command(cls=Command, examples=["spool status", "spool status --json"])
@limits.as_json
@click.pass_context
def status(context: click.Context, /, as_json: bool) -> None:
    """Show how many events wait on this host to be written into the storage, and since when."""
    found = full_of(context, makes_file=True).spool_status()
    if as_json:
        say(dumps(None if found is None else plain(asdict(found))))
    elif found is None:
        say("There is no spool: what the storage does not take is lost.")
    else:
        say(one_line(_summary(found)))


@click.command(cls=Command, examples=["spool flush"])
@click.pass_context
def flush(context: click.Context, /) -> None:
    """Write the events that wait on this host into the storage.

    Processes that live write their own. The exit code is 1 if events remain.
    """
    full = full_of(context, makes_file=True)
    before = full.spool_status()
    if before is None:
        raise Failure("there is no spool: fullresult_spool_directory is None")
    try:
        with progress(before.events - before.owned, "Writing") as advance:
            written = full.flush_spool(advance)
    except StorageError as error:
        left = full.spool_status() or before
        raise Failure(f"{error}; {_summary(left)}") from error
    say(f"Wrote {count_of(written, 'event')}.")
    after = full.spool_status() or before
    if _remains(after):
        raise Failure(_summary(after))


@click.group(
    cls=Commands,
    commands=[status, flush],
    short_help="Show and write what waits on this host",
    examples=["spool status", "spool flush"],
)
def spool() -> None:
    """See and write the events that wait on this host."""


def _remains(found: SpoolStatus) -> bool:
    now = datetime.now(timezone.utc)
    left = found.events - found.owned
    return bool(left or (found.owned and found.oldest and now - found.oldest > _FRESH))


def _summary(found: SpoolStatus) -> str:
    return f"{_waiting(found)}{_unread(found)}"


def _unread(found: SpoolStatus) -> str:
    if not found.unread:
        return ""
    files = count_of(found.unread, "file")
    return f"; {files} with lines of another version: run `spool flush` with that version"


def _waiting(found: SpoolStatus) -> str:
    if not found.events:
        return f"nothing waits in {found.directory}"
    summary = f"{count_of(found.events, 'event')} ({found.bytes:,} bytes) wait in {found.directory}"
    if found.oldest:
        age = datetime.now(timezone.utc) - found.oldest
        summary += f", the oldest for {span(max(age.total_seconds(), 0))}"
    if found.owned:
        summary += f"; {found.owned:,} of them belong to processes that live and write them"
    return summary
