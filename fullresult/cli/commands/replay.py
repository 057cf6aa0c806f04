"""`replay create`, `list`, `show`, `pause`, `resume`, `cancel` and `undo`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click
from celery.exceptions import QueueNotFound

from fullresult.actions.audit import actor_here
from fullresult.actions.documents import preview_document, progress_document, replay_document
from fullresult.actions.replays import Progress, Stop, WrongReplay
from fullresult.cli import filters, limits
from fullresult.cli.acting import say_unwritten
from fullresult.cli.errors import Commands, Failure
from fullresult.cli.help import Command
from fullresult.cli.replay_preview import rate, show_preview
from fullresult.cli.table import Column, bounded, show_rows
from fullresult.cli.terminal import say
from fullresult.cli.typed_values import length
from fullresult.cli.which_app import full_of
from fullresult.cli.yes import yes_option
from fullresult.insight.document import dumps
from fullresult.insight.safe_text import one_line, safe
from fullresult.insight.words import count_of, local
from fullresult.record.replay import ACTIVE, Replay

if TYPE_CHECKING:
    from fullresult.actions.replays import Replays

T = TypeVar("T")

_STOP = re.compile(r">\s*(\d+(?:\.\d+)?)%(?:\s+of\s+(\d+))?")
_EVERY = 1.0


def stop(text: str) -> Stop:
    """When to stop: `>5%` or `>5% of 50`."""
    found = _STOP.fullmatch(text.strip())
    if not found:
        raise click.BadParameter(f"{text!r} is no limit; write '>5% of 50'")
    try:
        return Stop(float(found[1]) / 100, int(found[2] or 1))
    except WrongReplay as error:
        raise click.BadParameter(f"{text!r}: {error}") from error


def _replays(context: click.Context) -> Replays:
    return full_of(context).replaying(actor_here("command line", unwritten=say_unwritten))


def _try(do: Callable[[], T]) -> T:
    try:
        return do()
    except (WrongReplay, LookupError) as error:
        raise Failure(str(error)) from error


# ---- create


@click.command(
    cls=Command,
    examples=[
        "replay create --state FAILURE --name 'shop.*' --since 2h --rate 20/s",
        "replay create --state FAILURE --since 2h --canary 10 --stop-if '>5% of 50'",
    ],
)
@filters.which
@filters.dealt_with
@click.option("--rate", "a_second", type=rate, default="20/s", help="20/s, 300/m or 100/h; 20/s.")
@click.option("--canary", type=click.IntRange(min=1), help="Send this many, and await their ends.")
@click.option("--canary-wait", type=length, default="10m", help="Pause if that takes longer; 10m.")
@click.option("--stop-if", type=stop, metavar="LIMIT", help="Stop at '>5% of 50' that failed.")
@click.option("--label", metavar="TEXT", help="A name for the listing.")
@click.option("--to-queue", metavar="QUEUE", help="Send them there, not where they were sent.")
@click.option("--dry-run", is_flag=True, help="Show what would be sent, and begin nothing.")
@yes_option
@limits.as_json
@click.pass_context
def create(
    context: click.Context,
    /,
    everything: bool,
    a_second: float,
    canary: int | None,
    canary_wait: timedelta,
    stop_if: Stop | None,
    label: str | None,
    to_queue: str | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Begin to send again all that match now, at a rate, by the sweepers.

    You see what would be sent, and are asked. Nothing of it needs this process: sweepers go on with
    it, also after a restart of them all. What is created later is not sent. Prints the id of the
    replay.
    """
    if not filters.given(options):
        raise click.UsageError("say which tasks: filters such as --state FAILURE --since 2h")
    replays = _replays(context)
    # Not what is created while the question waits.
    query = replays.until_now(filters.query(options, order="oldest"))
    seen = replays.preview(query, to_queue, all=everything)
    if not seen.count:
        rest = not everything and replays.preview(query, all=True).count
        which = "All such tasks are dealt with (--all)" if rest else "No such task is recorded"
        say(f"{which}; nothing is sent.", err=True)
        filters.explain_nothing(options)
        return
    if as_json and dry_run:
        say(dumps(preview_document(seen, a_second)))
        return
    if dry_run or not yes:
        show_preview(seen, a_second)
    if dry_run:
        return
    if not yes:
        click.confirm(f"Send them at {a_second:g}/s?", abort=True, err=True)
    try:
        begun = replays.create(
            query,
            rate=a_second,
            canary=canary or 0,
            canary_wait=canary_wait,
            stop_if=stop_if,
            name=label,
            queue=to_queue,
            all=everything,
        )
    except (WrongReplay, QueueNotFound) as error:
        raise click.UsageError(str(error)) from error
    say(dumps(replay_document(begun)) if as_json else safe(begun.replay_id))


# ---- list and show


@click.command("list", cls=Command, examples=["replay list", "replay list --json"])
@limits.as_json
@click.pass_context
def list_(context: click.Context, /, as_json: bool) -> None:
    """List the replays, the newest first.

    In a pipe, the fields of a line are: id, state, tasks taken, tasks left out, created (UTC),
    label, who began it, and why it is in its state.
    """
    found = _replays(context).list()
    if as_json:
        say(dumps([replay_document(each) for each in found]))
        return
    show_rows(found, _COLUMNS, _fields)


@click.command(cls=Command, examples=["replay show 3f0c9a4e1b2d", "replay show 3f0c… --follow"])
@click.argument("replay_id", metavar="ID")
@click.option("--follow", is_flag=True, help="Go on showing it until it takes no more tasks.")
@limits.as_json
@click.pass_context
def show(context: click.Context, /, replay_id: str, follow: bool, as_json: bool) -> None:
    """Show one replay, and what became of what it sent."""
    replays = _replays(context)
    _show(replays, replay_id, follow=follow, as_json=as_json)


def _show(replays: Replays, replay_id: str, *, follow: bool, as_json: bool = False) -> None:
    while True:
        replay = _try(lambda: replays.get(replay_id))
        progress = replays.progress(replay_id)
        if as_json:
            say(dumps(progress_document(replay, progress)))
        else:
            for line in _lines(replay, progress):
                say(one_line(line))
        if not follow or replay.state not in ACTIVE:
            return
        time.sleep(_EVERY)


def _lines(replay: Replay, progress: Progress) -> Iterator[str]:
    label = f" ({replay.name})" if replay.name else ""
    yield f"{replay.replay_id}{label} is {replay.state}: {replay.reason}"
    yield f"Taken {replay.taken:,} at {replay.rate:g}/s, since {local(replay.date_created)}"
    if progress.is_of_the_last:
        yield f"Of the last {progress.counted:,}:"
    yield f"Not sent yet {progress.waiting:,}, sent and not ended {progress.under_way:,}"
    if progress.claimed:
        yield f"Claimed {progress.claimed:,}: being sent, or perhaps sent by a sweeper that died"
    for state, number in sorted(progress.ended.items()):
        yield f"{state} {number:,}"
    for why, number in sorted(replay.left_out.items()):
        yield f"Left out {number:,} {why}"


# ---- from one state to another


_follow = click.option("--follow", is_flag=True, help="Show it until it takes no more tasks.")


@click.command(cls=Command, examples=["replay pause 3f0c9a4e1b2d"])
@click.argument("replay_id", metavar="ID")
@click.pass_context
def pause(context: click.Context, /, replay_id: str) -> None:
    """Send nothing more of a replay for now."""
    replays = _replays(context)
    _try(lambda: replays.pause(replay_id))
    _show(replays, replay_id, follow=False)


@click.command(cls=Command, examples=["replay resume 3f0c9a4e1b2d --follow"])
@click.argument("replay_id", metavar="ID")
@_follow
@click.pass_context
def resume(context: click.Context, /, replay_id: str, follow: bool) -> None:
    """Go on with a replay that is paused or stopped."""
    replays = _replays(context)
    _try(lambda: replays.resume(replay_id))
    _show(replays, replay_id, follow=follow)


@click.command(cls=Command, examples=["replay cancel 3f0c9a4e1b2d"])
@click.argument("replay_id", metavar="ID")
@click.pass_context
def cancel(context: click.Context, /, replay_id: str) -> None:
    """End a replay: what is not sent yet never will be."""
    replays = _replays(context)
    cancelled = _try(lambda: replays.cancel(replay_id))
    say(f"Cancelled {count_of(cancelled)} that had not been sent.", err=True)


@click.command(cls=Command, examples=["replay undo 3f0c9a4e1b2d"])
@click.argument("replay_id", metavar="ID")
@yes_option
@click.pass_context
def undo(context: click.Context, /, replay_id: str, yes: bool) -> None:
    """Cancel what is not sent, revoke what has not begun, and list what ran.

    Effects of what ran stay. Prints the ids of what ran. If some may still run, as not all workers
    have confirmed to drop them, it exits with 1, and may be asked for again.
    """
    replays = _replays(context)
    _try(lambda: replays.get(replay_id))
    if not yes:
        _show(replays, replay_id, follow=False)
        click.confirm("Undo it? What ran keeps its effects.", abort=True, err=True)
    undone = _try(lambda: replays.undo(replay_id))
    revoked, ran = len(undone.revoked), len(undone.ran)
    say(f"Cancelled {undone.cancelled:,}, revoked {revoked:,}, ran {ran:,}:", err=True)
    for task_id in undone.ran:
        say(safe(task_id))
    if undone.why_not is not None:
        raise Failure(f"{undone.why_not}; undo it again to revoke them")


def _fields(replay: Replay) -> Sequence[str]:
    return bounded(
        (
            replay.replay_id,
            replay.state,
            str(replay.taken),
            str(sum(replay.left_out.values())),
            replay.date_created.isoformat(timespec="milliseconds"),
            replay.name,
            replay.actor,
            replay.reason,
        )
    )


_COLUMNS: tuple[Column[Replay], ...] = (
    Column("CREATED", lambda replay: local(replay.date_created)),
    Column("ID", lambda replay: safe(replay.replay_id)),
    Column("STATE", lambda replay: safe(replay.state)),
    Column("TAKEN", lambda replay: f"{replay.taken:,}"),
    Column("LABEL", lambda replay: safe(replay.name or ""), elastic=True),
    Column("WHY", lambda replay: safe(replay.reason), elastic=True),
)

replay = Commands(
    "replay",
    help="Send many tasks again, at a rate, by the sweepers, with a brake.",
    short_help="Send many again at a rate, with a brake",
    commands=[create, list_, show, pause, resume, cancel, undo],
    examples=["replay create --state FAILURE --since 2h --canary 10", "replay list"],
)
