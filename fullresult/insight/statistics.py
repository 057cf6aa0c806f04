"""Statistics by task and time, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Percentiles:
    """Seconds that 50, 95 and 99 of 100 tasks took at most."""

    p50: float
    p95: float
    p99: float
    count: int
    """The number of tasks that this is about."""


@dataclass(frozen=True)
class Counts:
    """Tasks that were created in a span of time, and what became of them until now."""

    since: datetime
    until: datetime
    tasks: int
    """All of them, also those that wait in the storage or never reached the broker."""
    published: int
    started: int
    succeeded: int
    failed: int
    dropped: int
    """Revoked, expired, rejected or ignored."""
    retried: int
    """With more than one attempt, so far."""
    wait: Percentiles | None
    """From published (or due, if that is later) to the first start. None: no task has started."""
    run: Percentiles | None
    """Of the execution that returned or raised. None: no task has."""
    share: float = 1.0
    """The share of the span that was looked at: its newest part, where there were too many tasks to
    look at all."""

    @property
    def per_second(self) -> float:
        """Tasks a second in the part of the span that was looked at."""
        seconds = (self.until - self.since).total_seconds() * self.share
        return self.tasks / seconds if seconds else 0.0


@dataclass(frozen=True)
class TaskStatistics:
    """Statistics of the tasks of one name."""

    name: str | None
    """None: all tasks of the less frequent names, and those of no known name."""
    total: Counts
    buckets: tuple[Counts, ...]


@dataclass(frozen=True)
class Statistics:
    """Statistics of the tasks that were created in a span of time, also by equal buckets of it."""

    total: Counts
    buckets: tuple[Counts, ...]
    tasks: tuple[TaskStatistics, ...]
    """By name, the most frequent first."""

    @property
    def sampled(self) -> bool:
        """True if only the newest tasks of each bucket were looked at, as there were too many."""
        return self.total.share < 1
