"""The router: decides for each task with an ETA if it waits in the storage or on the broker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import cached_property
from typing import Protocol


class Outgoing:
    """A task with an ETA or a countdown, about to be published."""

    def __init__(self, name: str, delay: timedelta, queue: Callable[[], str | None]) -> None:
        self.name = name
        self.delay = delay
        """Time until it is due; negative if it is due already."""
        self._queue = queue

    @cached_property
    def queue(self) -> str | None:
        """The queue that Celery routes it to; None for an exchange without a queue."""
        return self._queue()


class Router(Protocol):
    """The object that the hook `fullresult_router` returns."""

    def diverts(self, outgoing: Outgoing) -> bool:
        """True if this task is to wait in the storage; else it goes to the broker with its ETA."""
        ...


class EtaRouter:
    """Diverts tasks that are due in more than *min_delay* (`fullresult_schedule_min_delay`)."""

    def __init__(self, min_delay: timedelta = timedelta(0)) -> None:
        self.min_delay = min_delay

    def diverts(self, outgoing: Outgoing) -> bool:
        return outgoing.delay > self.min_delay
