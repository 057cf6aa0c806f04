"""The life of one task in steps: what happened when, and how long after the step before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from fullresult.record import FINISHED, RETRY, SCHEDULED, SCHEDULED_SENT, STARTED, TaskRecord


class Step(NamedTuple):
    """One thing that happened, or is to happen. Its text came from a task: doors make it safe."""

    at: datetime
    kind: Literal["scheduled", "published", "due", "expires", "started", "ended", "last heard of"]
    text: str
    """In words, without the date and the state."""
    state: str | None = None
    """The state that the task or the attempt ended in, or is in."""
    after: timedelta | None = None
    """Since the step before; None for the first."""


def timeline_of(record: TaskRecord) -> list[Step]:
    """All steps, in the order of time."""
    found: list[Step] = []
    for step in sorted(_steps(record), key=lambda step: step.at):
        after = step.at - found[-1].at if found else None
        found.append(step._replace(after=after))
    return found


def _steps(record: TaskRecord) -> Iterator[Step]:
    yield from _message(record)
    yield from _runs(record)
    if record.date_done and not record.executions:
        yield Step(record.date_done, "ended", "ended", record.state)
    elif record.state not in FINISHED:
        yield Step(record.date_updated, "last heard of", "last heard of", record.state)


def _message(record: TaskRecord) -> Iterator[Step]:
    by = f" by {record.origin}" if record.origin else ""
    by += " (periodic)" if record.periodic else ""
    if record.retry_of:  # Its message, sent again, names who published the first.
        by = " as a re-send"
    stored = _was_stored(record)
    if stored:
        yield Step(record.date_created, "scheduled", f"scheduled{by}")
    if record.date_published:
        text = "sent to the broker" if stored else f"published{by}"
        yield Step(record.date_published, "published", text)
    if record.eta and not _ended_before(record, record.eta):
        # Rescheduling does not change the message.
        yield Step(record.eta, "due", "due (ETA), as first scheduled" if stored else "due (ETA)")
    if record.expires and not _ended_before(record, record.expires):
        yield Step(record.expires, "expires", "expires")


def _was_stored(record: TaskRecord) -> bool:
    """True if its first message was kept in the storage, which sends it when it is due."""
    if record.state in (SCHEDULED, SCHEDULED_SENT):
        return True
    if record.eta is None or record.headers.get("eta"):
        return False
    # Published as it was made: the ETA is that of a retry.
    at_once = record.date_published == record.date_created
    return not (at_once and (record.retries or record.state == RETRY))


def _ended_before(record: TaskRecord, date: datetime) -> bool:
    """True if the task came to its end before *date*, which is then nothing to wait for."""
    return record.state in FINISHED and record.date_done is not None and record.date_done < date


def _runs(record: TaskRecord) -> Iterator[Step]:
    for run in record.executions:
        attempt = f"attempt {run.retries + 1}"
        if run.date_started:
            where = run.worker or "an unknown worker"
            yield Step(run.date_started, "started", f"{attempt} started on {where}")
        if run.date_done:
            yield Step(run.date_done, "ended", f"{attempt} ended", run.state)


def waited(record: TaskRecord, now: datetime) -> tuple[timedelta | None, bool]:
    """(how long it waited, whether it still waits): from published, or due, to its first start."""
    began = record.date_published or record.date_created
    began = max(began, record.eta or began)
    first = record.start.date_started if record.start else record.date_started
    if first is not None:
        return first - began, False
    if record.outcome is not None and record.outcome.open:
        return now - began, True
    return None, False


def ran(record: TaskRecord, now: datetime) -> tuple[timedelta | None, bool]:
    """(how long its latest execution took, whether it still runs)."""
    if record.runtime is not None:
        return timedelta(seconds=min(record.runtime, 1e9)), False
    if record.state == STARTED and record.date_started:
        return now - record.date_started, True
    return None, False
