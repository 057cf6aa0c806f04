"""The router: for each task with an ETA, whether it waits on the broker or in the storage."""

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
        """How long from now it is due; negative if it is already."""
        self._queue = queue

    @cached_property
    def queue(self) -> str | None:
        """The queue it goes to, as Celery routes it; None for an exchange without one."""
        return self._queue()


class Router(Protocol):
    """What `fullresult_router` answers."""

    def diverts(self, outgoing: Outgoing) -> bool:
        """Whether this task waits in the storage; else it goes to the broker with its ETA."""
        ...


class EtaRouter:
    """Diverts whatever is due later than in *min_delay* (`fullresult_schedule_min_delay`)."""

    def __init__(self, min_delay: timedelta = timedelta(0)) -> None:
        self.min_delay = min_delay

    def diverts(self, outgoing: Outgoing) -> bool:
        return outgoing.delay > self.min_delay
