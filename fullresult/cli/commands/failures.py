"""`failures`: groups of failures, listed, shown, resolved and muted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from fullresult.cli import limits
from fullresult.cli.acting import deeds_of
from fullresult.cli.errors import Commands
from fullresult.cli.errors import Failure as NotDone
from fullresult.cli.help import Command
from fullresult.cli.table import Column, bounded, show_records, show_rows
from fullresult.cli.terminal import bold, say
from fullresult.cli.typed_values import moment, when
from fullresult.cli.which_app import full_of, reading_of
from fullresult.insight.document import dumps
from fullresult.insight.safe_text import lines, one_line, safe
from fullresult.insight.words import brief, count_of, local

if TYPE_CHECKING:
    from fullresult.actions.failures import FailureDeeds
    from fullresult.insight.failures import Failure, FailureDetails
    from fullresult.record import Decision

_A_DAY = timedelta(days=1)
_SHADES = "▁▂▃▄▅▆▇█"
_SHOWN = 5


def _release_or_when(text: str) -> datetime | str:
    """A time as other options have it; anything else is a release."""
    try:
        return when(text)
    except click.BadParameter:
        return text


@click.command(
    cls=Command,
    examples=["failures show 1-703ce3170eeab6b7", "failures show 1-703c… --affected user_id"],
)
@click.argument("group")
@click.option("--affected", metavar="KEY", help="Count the values of this keyword argument.")
@limits.as_json
@click.pass_context
def show(context: click.Context, /, group: str, affected: str | None, as_json: bool) -> None:
    """Show one group: its last traceback, releases, workers, and three tasks to look at."""
    found = full_of(context).failures.show(group, affected)
    if found is None:
        raise NotDone(f"no failure is recorded in the group {group!r}")
    if as_json:
        say(dumps(found.document))
        return
    for line in _page(found, affected):
        say(line)
    show_records(found.examples, table=True)


def _page(found: FailureDetails, affected: str | None) -> Sequence[str]:
    failure = found.failure
    shown = [
        bold(one_line(f"{failure.name or 'unknown'}: {_ending(failure)}")),
        f"group     {safe(failure.fingerprint)}, {failure.standing}",
        f"first     {local(failure.date_first)}",
        f"last      {local(failure.date_last)}",
        f"failures  {failure.counted}, {failure.rate} an hour",
        f"left      {failure.left} not dealt with",
    ]
    if found.share is not None:
        shown.append(f"share     {found.share:.1%} of the tasks with this name since the first")
    shown.append(f"since     {local(found.bars_since)} {_sparkline(found.bars)}")
    shown.append(f"releases  {_told(found.releases)}")
    shown.append(f"workers   {_told(found.workers)}")
    if found.affected is not None:
        title = one_line(f"{affected}: {count_of(len(found.affected), 'value')}")
        shown.append(f"affected  {title}, of the newest {found.looked:,}: {_told(found.affected)}")
    if failure.decision is not None:
        shown.append(f"decided   {_decided(failure.decision)}")
    text = found.example.traceback or _ending(failure)
    return [*shown, "", *lines(text.rstrip()), ""]


def _sparkline(bars: Sequence[int]) -> str:
    most = max(*bars, 1)
    return "".join(
        _SHADES[(number * (len(_SHADES) - 1) + most - 1) // most] if number else " "
        for number in bars
    )


def _told(counts: dict[str, int]) -> str:
    parts = [f"{name or 'unknown'} ({number:,})" for name, number in [*counts.items()][:_SHOWN]]
    rest = len(counts) - _SHOWN
    return one_line(", ".join(parts) + (f", {rest:,} more" if rest > 0 else ""))


def _decided(decision: Decision) -> str:
    parts = [f"{decision.status} by {decision.actor}, {local(decision.date_decided)}"]
    if decision.until_time is not None:
        parts.append(f"until {local(decision.until_time)}")
    if decision.until_count is not None:
        parts.append(f"until it has failed {decision.until_count:,} times more")
    if decision.note:
        parts.append(decision.note)
    return one_line(", ".join(parts))


def _decide(context: click.Context, group: str, note: str, verb: str, **more: Any) -> None:
    deeds: FailureDeeds = deeds_of(full_of(context)).failures
    try:
        decision: Decision = getattr(deeds, verb)(group, note, **more)
    except LookupError as error:
        raise NotDone(str(error.args[0])) from error
    say(one_line(f"{decision.fingerprint} is {decision.status}."))


_note = click.option("--note", default="", metavar="TEXT", help="Why, for others to read.")


@click.command(cls=Command, examples=["failures resolve 1-703ce3170eeab6b7 --note 'mended in 4.2'"])
@click.argument("group")
@_note
@click.pass_context
def resolve(context: click.Context, /, group: str, note: str) -> None:
    """Say that a group's cause is mended: its failures until now are dealt with.

    They leave the listings. If it fails again in another release, it has regressed.
    """
    _decide(context, group, note, "resolve")


@click.command(
    cls=Command,
    examples=[
        "failures mute 1-703ce3170eeab6b7 --until 'in 2d'",
        "failures mute 1-703c… --count 100",
    ],
)
@click.argument("group")
@click.option("--until", type=moment, help="Until then: 'in 2h', 2026-01-31T14:00 (local time).")
@click.option("--count", type=click.IntRange(min=1), help="Until it has failed that often again.")
@_note
@click.pass_context
def mute(
    context: click.Context, /, group: str, until: datetime | None, count: int | None, note: str
) -> None:
    """Leave a group out of `failures`, for ever or until something.

    Its tasks stay in the other listings.
    """
    _decide(context, group, note, "mute", until=until, count=count)


@click.command(cls=Command, examples=["failures reopen 1-703ce3170eeab6b7"])
@click.argument("group")
@_note
@click.pass_context
def reopen(context: click.Context, /, group: str, note: str) -> None:
    """Take back that a group was resolved or muted."""
    _decide(context, group, note, "reopen")


@click.command("group-old", cls=Command, examples=["failures group-old"])
@click.pass_context
def group_old(context: click.Context, /) -> None:
    """Give failures that an older version recorded their groups, by the texts of their tracebacks.

    It may be run beside workers, and again.
    """
    number = deeds_of(full_of(context)).failures.group_old()
    say(f"{count_of(number, 'failure')} got a group.")


@click.group(
    cls=Commands,
    commands=[show, resolve, mute, reopen, group_old],
    invoke_without_command=True,
    examples=[
        "failures",
        "failures --since 2h --name 'shop.*'",
        "failures --new-since 4.2 --fail   # a minute after a deploy",
        "resend --group 1-703ce3170eeab6b7",
    ],
)
@click.option("--since", type=when, help="Failed since: 2h, '1d ago', 2026-01-31. Default: 1 day.")
@click.option("--name", metavar="GLOB", help="Of tasks with this name, or a glob like 'shop.*'.")
@click.option(
    "--new-since",
    type=_release_or_when,
    metavar="RELEASE|WHEN",
    help="First failed since a time, or since the first worker of a release.",
)
@click.option(
    "--all", "everything", is_flag=True, help="Also what is resolved, muted or sent again."
)
@limits.limit
@limits.as_json
@limits.fail
@click.pass_context
def failures(
    context: click.Context,
    /,
    since: datetime | None,
    name: str | None,
    new_since: datetime | str | None,
    everything: bool,
    limit: int,
    as_json: bool,
    fail: bool,
) -> None:
    """List failures by their cause, those that failed last first.

    Failures are in one group if their task, their exceptions and the functions these came through
    are the same. Numbers are of the time since --since; counting stops at 1,000. With --fail the
    exit code is 3 if there are any: of --new-since, new ones. Revoked tasks do not count there.

    On a terminal this is a table. In a pipe, each line is a group, with tabs between its fields:
    group, standing, failures, not dealt with, first, last (UTC), release, task, exception, message,
    id of the task that failed last. With --json it is one object: `failures`, and `more` (true
    if --limit left some out).
    """
    if context.invoked_subcommand is not None:
        return
    try:
        began = _A_DAY if since is None else since
        # An exit code decides something: no replica may lack what failed just now.
        asked = full_of(context) if fail else reading_of(context)
        found = asked.failures.find(
            began, name=name, new_since=new_since, all=everything, limit=limit + 1
        )
    except LookupError as error:
        raise NotDone(str(error.args[0])) from error
    shown, more = found[:limit], len(found) > limit
    if as_json:
        say(dumps({"failures": [each.document for each in shown], "more": more}))
    else:
        show_rows(shown, _COLUMNS, _fields)
        if more:
            limits.say_limit_was_reached(limit)
        if not found:
            none = "recorded" if everything else "left to be dealt with"
            say(f"No failure is {none}. Only what failed {_since(since)} was looked at.", err=True)
    if fail and (failed := [each for each in shown if each.state != "REVOKED"]):
        limits.fail_over(context, count_of(len(failed), "group"), more=more)


def _since(since: datetime | None) -> str:
    return "in the last day" if since is None else f"since {local(since)}"


def _ending(failure: Failure) -> str:
    kind = (failure.exception_type or failure.state).rpartition(".")[2]
    return f"{kind}: {failure.exception_message or ''}".removesuffix(": ")


def _fields(each: Failure) -> Sequence[str]:
    return bounded(
        (
            each.fingerprint,
            each.standing,
            str(each.count),
            str(each.unresolved),
            each.date_first.isoformat(timespec="milliseconds"),
            each.date_last.isoformat(timespec="milliseconds"),
            each.release,
            each.name,
            each.exception_type,
            each.exception_message,
            each.newest_id,
        )
    )


_COLUMNS: tuple[Column[Failure], ...] = (
    Column("GROUP", lambda each: safe(each.fingerprint)),
    Column("IS", lambda each: each.standing),
    Column("FAILURES", lambda each: each.counted),
    Column("LEFT", lambda each: each.left),
    Column("FIRST", lambda each: local(each.date_first)),
    Column("LAST", lambda each: local(each.date_last)),
    Column("TASK", lambda each: brief(each.name or "unknown"), elastic=True),
    Column("ENDED WITH", lambda each: brief(_ending(each)), elastic=True),
)
