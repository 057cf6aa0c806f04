"""The options of one call of `send_task`: when its task is due, and by what it is to be sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from celery import Celery
from celery.utils.time import maybe_iso8601

PRODUCERS = frozenset({"producer", "publisher", "connection"})
TIMES = frozenset({"eta", "countdown"})


def is_stock(send_task: Callable[..., Any]) -> bool:
    return getattr(send_task, "__func__", None) is Celery.send_task


def due_in(options: Mapping[str, Any]) -> timedelta | datetime | None:
    """The time at which a call of `send_task` wants its task to run.

    None if that is at once, or if Celery is to raise an error of it.
    """
    countdown, eta = options.get("countdown"), options.get("eta")
    try:
        if countdown:
            wait = timedelta(seconds=countdown)
            datetime.now(timezone.utc) + wait  # past the year 9999 this raises, as Celery will
            return wait
        if not eta:
            return None
        when: datetime = maybe_iso8601(eta)
        # A naive date in a message is UTC to Celery's workers.
        return when if when.tzinfo else when.replace(tzinfo=timezone.utc)
    except (TypeError, ValueError, OverflowError, AttributeError):
        return None
