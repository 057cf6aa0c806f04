"""The periodic task that beat sends a message for, named in a header of the message."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any

from fullresult.record import ENTRY_NAME

if TYPE_CHECKING:
    from celery.beat import ScheduleEntry, Scheduler

_sending: ContextVar[ScheduleEntry | None] = ContextVar("fullresult_entry", default=None)


def watch(scheduler: Scheduler) -> None:
    """Have each message of *scheduler* name its periodic task. Celery's own messages do not."""
    send: Callable[..., Any] = scheduler.apply_async

    @wraps(send)
    def apply_async(entry: ScheduleEntry, *given: Any, **options: Any) -> Any:
        token = _sending.set(entry)
        try:
            return send(entry, *given, **options)
        finally:
            _sending.reset(token)

    scheduler.apply_async = apply_async


def named(task: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """*options* of `send_task`, with the headers that say for which periodic task beat sent it."""
    entry = _sending.get()
    if entry is None or entry.task != task:
        return dict(options)
    _sending.set(None)  # a receiver of a signal may publish now, and not for this task
    given = options.get("headers") or {}
    return {**options, "headers": {"celery_beat_task": True, ENTRY_NAME: entry.name, **given}}
