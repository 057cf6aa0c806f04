"""The life of one task in steps: what happened when, and how long it waited before that."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from fullresult.record import FINISHED, SCHEDULED, SCHEDULED_SENT, STARTED, TaskRecord
from fullresult.web.shown import line


class Step(NamedTuple):
    """One thing that happened, or is to happen."""

    at: datetime
    text: str
    kind: str
    """`published`, `started`, `ended`, `planned` or `other`."""
    after: timedelta | None = None
    """Since the step before."""
    state: str | None = None


def timeline_of(record: TaskRecord) -> list[Step]:
    """All steps, in the order of time."""
    found: list[Step] = []
    for step in sorted(_steps(record), key=lambda step: step.at):
        after = step.at - found[-1].at if found else None
        found.append(step._replace(after=after))
    return found


def _steps(record: TaskRecord) -> Iterator[Step]:
    by = f" by {line(record.origin, 100)}" if record.origin else ""
    stored = record.eta is not None and not record.headers.get("eta")
    if stored or record.state in (SCHEDULED, SCHEDULED_SENT):
        yield Step(record.date_created, f"scheduled{by}", "published")
    if record.date_published:
        text = "sent to the broker" if stored else f"published{by}"
        yield Step(record.date_published, text, "published")
    if record.eta:
        yield Step(record.eta, "due (ETA)", "planned")
    if record.expires:
        yield Step(record.expires, "expires", "planned")
    yield from _runs(record)
    if record.date_done and not record.executions:
        yield Step(record.date_done, "ended", "ended", state=record.state)
    elif record.state not in FINISHED:
        yield Step(record.date_updated, "last heard of", "other", state=record.state)


def _runs(record: TaskRecord) -> Iterator[Step]:
    for run in record.executions:
        attempt = f"attempt {run.retries + 1}"
        if run.date_started:
            where = line(run.worker or "an unknown worker", 100)
            yield Step(run.date_started, f"{attempt} started on {where}", "started", state=STARTED)
        if run.date_done:
            yield Step(run.date_done, f"{attempt} ended", "ended", state=run.state)


def waited(record: TaskRecord, now: datetime) -> tuple[timedelta | None, bool]:
    """How long from published, or due, to its first start; and whether it still waits."""
    began = record.date_published or record.date_created
    began = max(began, record.eta or began)
    first = record.start.date_started if record.start else record.date_started
    if first is not None:
        return first - began, False
    if record.outcome is not None and record.outcome.open:
        return now - began, True
    return None, False


def ran(record: TaskRecord, now: datetime) -> tuple[timedelta | None, bool]:
    """How long its latest execution took, and whether it still runs."""
    if record.runtime is not None:
        return timedelta(seconds=min(record.runtime, 1e9)), False
    if record.state == STARTED and record.date_started:
        return now - record.date_started, True
    return None, False
