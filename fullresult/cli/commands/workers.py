"""`workers`."""

from __future__ import annotations

from datetime import datetime

import click

from fullresult.cli import limits
from fullresult.cli.help import Command
from fullresult.cli.table import Column, bounded, show_rows
from fullresult.cli.terminal import say
from fullresult.cli.which_app import full_of
from fullresult.insight.document import dumps
from fullresult.insight.documents import fleet_document
from fullresult.insight.fleet import Fleet, WorkerSeen
from fullresult.insight.safe_text import safe
from fullresult.insight.words import brief, count_of, local, span


@click.command(cls=Command, examples=["workers", "workers --all --json", "workers --fail"])
@click.option("--all", "every", is_flag=True, help="Also those that ended as they should.")
@limits.as_json
@click.option("--fail", is_flag=True, help="Exit with code 3 if a worker is gone.")
@click.pass_context
def workers(context: click.Context, /, every: bool, as_json: bool, fail: bool) -> None:
    """List the workers: which live, which are gone, what each runs, and on which queues.

    A worker is gone if it should have been heard of and was not: it was killed or is cut off.
    Workers that ended as they should, that began anew under their name, or that are gone for a
    week, are left out without --all.

    In a pipe, each line is a worker, with tabs between its fields: name, alive, gone or ended, when
    it began and was last heard of (UTC), queues, pool, processes, tasks that it runs, release,
    host, process id. With --json it is one object: `workers`, and `folded` for those left out.
    """
    found = full_of(context).workers()
    shown = (*found.workers, *found.folded) if every else found.workers
    if as_json:
        say(dumps(fleet_document(found)))
    else:
        show_rows(shown, _columns(found.at), _fields)
        say(_summary(found), err=True)
    if fail and found.gone:
        limits.fail_over(context, f"{count_of(found.gone, 'worker')} gone", more=False)


def _summary(found: Fleet) -> str:
    orphans = f", with {count_of(found.orphans, 'orphan')}" if found.orphans else ""
    folded = f"; {len(found.folded):,} more with --all" if found.folded else ""
    return f"{count_of(found.alive, 'worker')} alive, {found.gone:,} gone{orphans}{folded}."


def _columns(now: datetime) -> tuple[Column[WorkerSeen], ...]:
    return (
        Column("WORKER", lambda each: safe(each.name)),
        Column("IS", lambda each: each.state, state=lambda each: _COLOUR[each.state]),
        Column("SINCE", lambda each: local(_since(each))),
        Column("QUEUES", lambda each: brief(", ".join(each.card.queues)), elastic=True),
        Column("POOL", lambda each: f"{each.card.pool} {each.card.processes or ''}".strip()),
        Column("RUNS", lambda each: brief(_runs(each, now)), elastic=True),
        Column("RELEASE", lambda each: brief(each.card.release or "")),
        Column("CELERY", lambda each: safe(each.card.versions.get("celery", ""))),
    )


_COLOUR = {"alive": "SUCCESS", "gone": "FAILURE", "ended": "IGNORED"}


def _since(each: WorkerSeen) -> datetime:
    return each.date_started if each.state == "alive" else each.date_seen


def _runs(each: WorkerSeen, now: datetime) -> str:
    if not each.running:
        return ""
    first = each.running[0]
    lasts = f" for {span((now - first.since).total_seconds())}" if first.since else ""
    more = f", {len(each.running) - 1} more" if len(each.running) > 1 else ""
    return f"{first.name or '<unknown>'}{lasts}{more}"


def _fields(each: WorkerSeen) -> list[str]:
    card = each.card
    return bounded(
        (
            each.name,
            each.state,
            each.date_started.isoformat(timespec="milliseconds"),
            each.date_seen.isoformat(timespec="milliseconds"),
            ",".join(card.queues),
            card.pool,
            None if card.processes is None else str(card.processes),
            str(len(each.running)),
            card.release,
            card.host,
            None if card.pid is None else str(card.pid),
        )
    )
