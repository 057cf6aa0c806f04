"""`queues`: they are listed, paused and resumed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import click

from fullresult.actions.audit import actor_here
from fullresult.actions.documents import told_document
from fullresult.actions.pausing import CannotPause, Pausing, Told, after
from fullresult.cli import limits
from fullresult.cli.acting import say_unwritten
from fullresult.cli.errors import Commands, Failure
from fullresult.cli.help import Command
from fullresult.cli.table import Column, bounded, show_rows
from fullresult.cli.terminal import say
from fullresult.cli.typed_values import length
from fullresult.cli.which_app import full_of
from fullresult.cli.yes import yes_option
from fullresult.insight.document import dumps
from fullresult.insight.documents import queues_document
from fullresult.insight.queues import QueueSeen
from fullresult.insight.safe_text import one_line, safe
from fullresult.insight.words import brief, count_of, span


@click.command(cls=Command, examples=["queues pause media --reason 'disk full'"])
@click.argument("queue")
@click.option("--reason", default="", metavar="TEXT", help="Why, for others to read.")
@click.option("--for", "lasts", type=length, metavar="LENGTH", help="Resume by itself then.")
@limits.as_json
@yes_option
@click.pass_context
def pause(
    context: click.Context,
    /,
    queue: str,
    reason: str,
    lasts: timedelta | None,
    as_json: bool,
    yes: bool,
) -> None:
    """Have no worker take tasks from a queue, also of those that start later.

    Workers that live are told; every worker asks the storage as it starts and with each heartbeat.
    Tasks that a worker has taken run all the same. A queue that is paused already has this pause
    instead.
    """
    if not yes:
        click.confirm(f"Pause {one_line(queue)}?", abort=True, err=True)
    _do(context, queue, lambda pausing: pausing.pause(queue, reason, lasts), as_json, paused=True)


@click.command(cls=Command, examples=["queues resume media"])
@click.argument("queue")
@limits.as_json
@click.pass_context
def resume(context: click.Context, /, queue: str, as_json: bool) -> None:
    """End the pause of a queue.

    Workers consume it again that had stopped for it.
    """
    _do(context, queue, lambda pausing: pausing.resume(queue), as_json, paused=False)


def _do(
    context: click.Context,
    queue: str,
    deed: Callable[[Pausing], Told],
    as_json: bool,
    *,
    paused: bool,
) -> None:
    pausing = full_of(context).pausing(actor_here("command line", unwritten=say_unwritten))
    try:
        told = deed(pausing)
    except CannotPause as error:
        raise Failure(str(error)) from error
    if as_json:
        say(dumps(told_document(queue, told, paused=paused)))
        return
    say(one_line(f"{queue} is {'paused' if paused else 'not paused any more'}."))
    for sentence in after(told, paused=paused):
        say(one_line(sentence), err=True)


@click.group(
    cls=Commands,
    invoke_without_command=True,
    commands=[pause, resume],
    examples=["queues", "queues --offline --json", "queues --fail", "queues pause media"],
)
@click.option("--offline", is_flag=True, help="Ask the storage alone, not the broker.")
@limits.as_json
@click.option("--fail", is_flag=True, help="Exit with code 3 if nobody consumes what waits.")
@click.pass_context
def queues(context: click.Context, /, offline: bool, as_json: bool, fail: bool) -> None:
    """List the queues: what waits in each, since when, in and out a minute, and who consumes it.

    Redis and RabbitMQ are asked how much waits, for 1.5 seconds at most. What only records can tell
    is told by them: the tasks that wait longest, and what came and went in the last 5 minutes.

    In a pipe, each line is a queue, with tabs between its fields: name, messages by the broker,
    tasks that wait by the records, consumers, seconds that the oldest waits, in and out a minute,
    workers, problem, pause. With --json it is one object: `queues`, and `unknown`, what was not
    answered.
    """
    if context.invoked_subcommand is not None:
        return
    found = full_of(context).queues(offline=offline)
    if as_json:
        say(dumps(queues_document(found)))
    else:
        show_rows(found.queues, _columns(found.at), lambda each: _fields(each, found.at))
        for each in found.queues:
            paused = each.paused.sentence if each.paused else None
            for sentence in dict.fromkeys((each.problem, paused)):
                if sentence:
                    say(one_line(sentence), err=True)
        for why in found.unknown:
            say(f"Not known: {one_line(why)}", err=True)
    wrong = sum(each.problem is not None for each in found.queues)
    if fail and wrong:
        limits.fail_over(context, f"{count_of(wrong, 'queue')} nobody consumes", more=False)


def _columns(now: datetime) -> tuple[Column[QueueSeen], ...]:
    return (
        Column("QUEUE", lambda each: f"{safe(each.name)}{' (paused)' if each.paused else ''}"),
        Column("READY", lambda each: "" if each.ready is None else f"{each.ready:,}"),
        Column("RECORDED", lambda each: f"{each.recorded:,}"),
        Column("OLDEST", lambda each: span(_age(each, now))),
        Column("IN/MIN", lambda each: f"{each.per_minute_in:,.1f}"),
        Column("OUT/MIN", lambda each: f"{each.per_minute_out:,.1f}"),
        Column(
            "CONSUMERS",
            lambda each: f"{each.consumers or 0:,}",
            state=_color,
        ),
        Column("WORKERS", lambda each: brief(", ".join(each.workers)), elastic=True),
    )


def _color(each: QueueSeen) -> str:
    return "FAILURE" if each.problem else "RETRY" if each.paused else "SUCCESS"


def _age(each: QueueSeen, now: datetime) -> float | None:
    return None if each.oldest is None else max((now - each.oldest).total_seconds(), 0)


def _fields(each: QueueSeen, now: datetime) -> list[str]:
    age = _age(each, now)
    return bounded(
        (
            each.name,
            None if each.ready is None else str(each.ready),
            str(each.recorded),
            str(each.consumers or 0),
            None if age is None else f"{age:.3f}",
            f"{each.per_minute_in:.2f}",
            f"{each.per_minute_out:.2f}",
            ",".join(each.workers),
            each.problem,
            None if each.paused is None else each.paused.sentence,
        )
    )
