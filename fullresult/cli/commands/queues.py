"""`queues`."""

from __future__ import annotations

from datetime import datetime

import click

from fullresult.cli import limits
from fullresult.cli.help import Command
from fullresult.cli.table import Column, bounded, show_rows
from fullresult.cli.terminal import say
from fullresult.cli.which_app import full_of
from fullresult.insight.document import dumps
from fullresult.insight.documents import queues_document
from fullresult.insight.queues import QueueSeen
from fullresult.insight.safe_text import one_line, safe
from fullresult.insight.words import brief, count_of, span


@click.command(cls=Command, examples=["queues", "queues --offline --json", "queues --fail"])
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
    workers, problem. With --json it is one object: `queues`, and `unknown`, what was not answered.
    """
    found = full_of(context).queues(offline=offline)
    if as_json:
        say(dumps(queues_document(found)))
    else:
        show_rows(found.queues, _columns(found.at), lambda each: _fields(each, found.at))
        for each in found.queues:
            if each.problem:
                say(one_line(each.problem), err=True)
        for why in found.unknown:
            say(f"Not known: {one_line(why)}", err=True)
    wrong = sum(each.problem is not None for each in found.queues)
    if fail and wrong:
        limits.fail_over(context, f"{count_of(wrong, 'queue')} nobody consumes", more=False)


def _columns(now: datetime) -> tuple[Column[QueueSeen], ...]:
    return (
        Column("QUEUE", lambda each: safe(each.name)),
        Column("READY", lambda each: "" if each.ready is None else f"{each.ready:,}"),
        Column("RECORDED", lambda each: f"{each.recorded:,}"),
        Column("OLDEST", lambda each: span(_age(each, now))),
        Column("IN/MIN", lambda each: f"{each.per_minute_in:,.1f}"),
        Column("OUT/MIN", lambda each: f"{each.per_minute_out:,.1f}"),
        Column(
            "CONSUMERS",
            lambda each: f"{each.consumers or 0:,}",
            state=lambda each: "FAILURE" if each.problem else "SUCCESS",
        ),
        Column("WORKERS", lambda each: brief(", ".join(each.workers)), elastic=True),
    )


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
        )
    )
