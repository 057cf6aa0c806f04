"""Which entry of beat's plan a message is of: it says so in a header."""

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
    """Have each message that *scheduler* sends name its entry, as those of Celery do not."""
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
    """*options* of `send_task`, with the headers by which a record knows that beat sent it."""
    entry = _sending.get()
    if entry is None or entry.task != task:
        return dict(options)
    _sending.set(None)  # what is published meanwhile, by a receiver of a signal, is not of it
    given = options.get("headers") or {}
    return {**options, "headers": {"celery_beat_task": True, ENTRY_NAME: entry.name, **given}}
