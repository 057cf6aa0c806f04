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
    """Tasks that were created in a span of time, and what became of them until now.

    If they are not `exact`, there are at least so many.
    """

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
    looked_at: int
    """The number of tasks, the newest of each bucket, that the percentiles are of."""
    exact: bool = True
    """True if every task was counted. There was no time for it where there are too many."""

    @property
    def per_second(self) -> float:
        """Tasks created in a second."""
        seconds = (self.until - self.since).total_seconds()
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
        """True if the percentiles are not of all tasks: there were too many to look at each."""
        return not self.total.exact or self.total.looked_at < self.total.tasks
