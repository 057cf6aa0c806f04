"""Tells the end of a chord's member from an end that it gives itself while it runs.

A task may say `update_state(state="FAILURE")` and go on. Its record says so, too; its chord waits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from celery import states
from celery.app.task import Context

from fullresult.record import IGNORED, TaskRecord

EARLY = "early"
"""The key that what is stored of such a state has."""
_is_end: ContextVar[bool] = ContextVar("fullresult_is_end", default=False)


@contextmanager
def of_task() -> Iterator[None]:
    """Inside, Celery tells the end of a task."""
    token = _is_end.set(True)
    try:
        yield
    finally:
        _is_end.reset(token)


def is_early(task_id: str, state: str, request: Context | None) -> bool:
    """True if *task_id*, a member of a chord, runs and says by itself that it is over."""
    if state not in (states.SUCCESS, states.FAILURE) or _is_end.get() or request is None:
        return False
    return bool(request.chord) and request.id == task_id


def gave_up(record: TaskRecord | None) -> bool:
    """True if the task said so and then raised `Ignore`: nothing more comes of it."""
    if record is None or record.date_done is None:
        return False
    dates = [entry.date_done for entry in record.entries if entry.state == IGNORED]
    return any(date is not None and date >= record.date_done for date in dates)
