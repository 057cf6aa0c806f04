"""The overview: statistics, the number of tasks in each state, and what is late."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from fullresult.insight.census import census
from fullresult.insight.counts import StateCounts, count_stale, count_states
from fullresult.insight.dates import length_of
from fullresult.insight.statistics import Statistics
from fullresult.insight.tally import MOST, edges, shares, statistics
from fullresult.record.schedule import ScheduleQuery
from fullresult.storage import ScheduleStorage, StatisticsStorage, Storage, StorageError, TaskQuery

if TYPE_CHECKING:
    from fullresult.config import Settings

CAP = 1_000
"""The number at which counting stops."""


@dataclass(frozen=True)
class Overview:
    """How the tasks of one storage are doing. A number that equals `cap` may be greater."""

    at: datetime
    """By the storage's clock."""
    statistics: Statistics
    states: dict[str, int]
    """The number of tasks in each state, whenever they were created."""
    at_least: frozenset[str]
    """The states of which there may be more than that: too many tasks are open, and only the oldest
    and the newest of them were looked at."""
    stale: int
    """The number of tasks that neither finished nor moved for `fullresult_stale_after`."""
    stale_at_least: bool
    """True if there may be more: not all of the tasks that are open were looked at."""
    stale_scheduled: int
    """The number of schedules that have been due for as long and are not sent."""
    stale_in_outbox: int
    """How many of these are in an outbox."""
    last_sweep: datetime | None
    """When a sweeper of this app's broker was last at work; None: never."""
    sweeper_lag: timedelta
    """How long the first unclaimed schedule of this app's broker has been due; 0 if none is."""
    cap: int


class Overviews:
    """Makes overviews of one storage; the work for each has a bound."""

    def __init__(
        self, settings: Settings, storage: Storage, replica: Storage | None = None
    ) -> None:
        """Statistics and states are of *replica*; what is late is asked of *storage* alone."""
        counting = storage if replica is None else replica
        self._schedules = storage if isinstance(storage, ScheduleStorage) else None
        if not isinstance(storage, StatisticsStorage) or not isinstance(
            counting, StatisticsStorage
        ):
            raise StorageError("this storage makes no statistics")
        self._settings = settings
        self._storage: Storage = storage
        self._late: StatisticsStorage = storage
        self._counting: StatisticsStorage = counting

    def overview(
        self,
        since: datetime | timedelta | str,
        until: datetime | None,
        buckets: int,
        cap: int,
        seconds: float | None = None,
        looked_at: int = MOST,
    ) -> Overview:
        now = self._storage.now()
        namespace = self._settings.namespace
        late = now - self._settings.stale_after
        schedules = self._schedules
        first_due = schedules.next_due(namespace) if schedules else None
        lag = timedelta(0) if first_due is None else max(now - first_due, timedelta(0))
        overdue = ScheduleQuery(due_until=late)
        counts = self.states(TaskQuery(), cap)
        stale, stale_at_least = count_stale(self._late, late, cap)
        return Overview(
            at=now,
            statistics=self._statistics(since, until or now, buckets, seconds, looked_at),
            states=counts.by_state,
            at_least=counts.at_least,
            stale=stale,
            stale_at_least=stale_at_least,
            stale_scheduled=self._late.count_capped(overdue, cap) if schedules else 0,
            stale_in_outbox=(
                self._late.count_capped(replace(overdue, outbox=True), cap) if schedules else 0
            ),
            last_sweep=schedules.last_sweep(namespace) if schedules else None,
            sweeper_lag=lag,
            cap=cap,
        )

    def statistics(
        self,
        since: datetime | timedelta | str,
        until: datetime | None,
        buckets: int,
        seconds: float | None = None,
    ) -> Statistics:
        return self._statistics(since, until or self._storage.now(), buckets, seconds)

    def _statistics(
        self,
        since: datetime | timedelta | str,
        until: datetime,
        buckets: int,
        seconds: float | None,
        looked_at: int = MOST,
    ) -> Statistics:
        if not isinstance(until, datetime):
            raise TypeError(f"until must be an aware datetime, not {until!r}")
        begin = since if isinstance(since, datetime) else until - length_of(since, "since")
        cut = edges(begin, until, buckets)
        counted = census(self._counting, cut, seconds)
        most = shares(counted, looked_at)
        samples = [
            self._counting.sample(span, number)[0] if number else []
            for span, number in zip(pairwise(cut), most, strict=True)
        ]
        return statistics(cut, samples, most, counted)

    def states(self, query: TaskQuery, cap: int) -> StateCounts:
        """The number of records that *query* finds, by each state that it allows; *cap* at most."""
        return count_states(self._counting, query, cap)
