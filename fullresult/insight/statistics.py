"""How much was done, how fast and how well, by task and time: plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Percentiles:
    """Seconds that half, 95 and 99 of a hundred took at most."""

    p50: float
    p95: float
    p99: float
    count: int
    """Of so many."""


@dataclass(frozen=True)
class Counts:
    """Tasks that were created in a span of time, and what became of them until now."""

    since: datetime
    until: datetime
    tasks: int
    """All of them: also what waits in the storage, or never reached the broker."""
    published: int
    started: int
    succeeded: int
    failed: int
    dropped: int
    """Ended otherwise: revoked, expired, rejected or ignored."""
    retried: int
    """Needed more than one attempt, so far."""
    wait: Percentiles | None
    """From published, or due if that is later, to the first start. None: nothing has started."""
    run: Percentiles | None
    """Of the execution that returned or raised. None: nothing has."""
    share: float = 1.0
    """The share of the span that was looked at, its newest part; below 1 there were too many."""

    @property
    def per_second(self) -> float:
        """Tasks a second, in that part of the span that was looked at."""
        seconds = (self.until - self.since).total_seconds() * self.share
        return self.tasks / seconds if seconds else 0.0


@dataclass(frozen=True)
class TaskStatistics:
    """What is known of the tasks of one name."""

    name: str | None
    """None: those of all other names together, and those of no known name."""
    total: Counts
    buckets: tuple[Counts, ...]


@dataclass(frozen=True)
class Statistics:
    """What is known of the tasks that were created in a span of time, cut into equal buckets."""

    total: Counts
    buckets: tuple[Counts, ...]
    tasks: tuple[TaskStatistics, ...]
    """By name, the most frequent first."""

    @property
    def sampled(self) -> bool:
        """Whether there were too many to look at all: each bucket has only its newest."""
        return self.total.share < 1
