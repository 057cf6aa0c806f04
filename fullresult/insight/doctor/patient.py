"""What the rules look at: an app's records, workers and settings, each read once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from fullresult.config import Settings
from fullresult.insight.fleet import Fleet, Life, lives_of
from fullresult.insight.live import Now
from fullresult.insight.statistics import Percentiles
from fullresult.insight.tally import percentiles
from fullresult.record import PENDING, RETRY, SCHEDULED_SENT, TaskRecord
from fullresult.record.card import options_in
from fullresult.record.sample import Sample
from fullresult.storage import CardStorage, StatisticsStorage, Storage, TaskQuery, WorkerStorage

if TYPE_CHECKING:
    from fullresult.insight.periodic import PeriodicTask
    from fullresult.insight.replica import Behind
    from fullresult.outage.spool import SpoolStatus

_WEEK = timedelta(days=7)
_MOST = 5_000
_OPEN = 500
"""Open records that are looked at, the oldest ones."""
_FEWEST = 5
"""Of fewer runs, percentiles say nothing."""


@dataclass(frozen=True)
class Patient:
    """One app, as far as it was looked at."""

    storage: Storage
    settings: Settings
    now: datetime
    """By the storage's clock."""
    clock_ahead: float
    """Seconds by which this process's clock is ahead of the storage's."""
    answers_in: float
    """Seconds that the storage took to tell the time, at best of three."""
    result_expires: timedelta | None
    """Celery's."""
    fleet: Fleet | None
    live: Now | None
    periodic: Sequence[PeriodicTask]
    """Beat's plan, as far as it could be read."""
    periodic_problem: str | None
    """Why it could not be read."""
    spool: SpoolStatus | None
    replica: Behind | None = None
    """How far the replica is behind that listings are read from; None if there is none."""

    @cached_property
    def samples(self) -> list[Sample]:
        """The newest records of a week."""
        if not isinstance(self.storage, StatisticsStorage):
            return []
        return self.storage.sample([self.now - _WEEK, self.now], _MOST)[0]

    @cached_property
    def runs(self) -> dict[str, list[float]]:
        """Seconds that the tasks of each name ran."""
        found: dict[str, list[float]] = defaultdict(list)
        for sample in self.samples:
            if sample.name is not None and sample.run is not None:
                found[sample.name].append(sample.run)
        return found

    def of_runs(self, name: str) -> Percentiles | None:
        """Percentiles of the runs of a name; None if there are too few."""
        seconds = self.runs.get(name, [])
        return percentiles(seconds) if len(seconds) >= _FEWEST else None

    @cached_property
    def living(self) -> tuple[Life, ...]:
        """The workers that live, with their cards."""
        return tuple(
            life
            for life in lives_of(self.storage, self.now, gone=0)
            if life.card is not None and not life.worker.is_gone(self.now)
        )

    def lived(self, worker_id: str | None, when: datetime) -> bool:
        """True if that worker was heard of after this time."""
        seen = self._seen.get(worker_id or "")
        return seen is not None and seen > when

    @cached_property
    def _seen(self) -> dict[str, datetime]:
        storage = self.storage
        if not isinstance(storage, WorkerStorage):
            return {}
        return {each.worker_id: each.date_seen for each in storage.find_workers()}

    @cached_property
    def options(self) -> dict[str, dict[str, Any]]:
        """The options of each task that a living worker knows, by name."""
        if not isinstance(self.storage, CardStorage):
            return {}
        found: dict[str, dict[str, Any]] = {}
        ids = {life.names_id for life in self.living if life.names_id}
        for text in self.storage.find_names(ids).values():
            found.update(options_in(text))
        return found

    def is_late(self, name: str) -> bool:
        """True if workers acknowledge it when it has ended."""
        if name in self.options:
            return bool(self.options[name].get("acks_late"))
        return any(life.card and life.card.acks_late for life in self.living)

    def has_limit(self, name: str) -> bool:
        """True if a time limit ends its runs on every worker."""
        own = self.options.get(name, {})
        if own.get("time_limit") or own.get("soft_time_limit"):
            return True
        return all(life.card and life.card.time_limit for life in self.living)

    @cached_property
    def visibility_timeout(self) -> float | None:
        """The shortest of the workers', in seconds; None for a broker that has none."""
        known = [life.card.visibility_timeout for life in self.living if life.card]
        return min((each for each in known if each), default=None)

    @cached_property
    def waiting(self) -> list[TaskRecord]:
        """The tasks that wait on the broker, the oldest first."""
        query = TaskQuery(
            open=True, state=(PENDING, RETRY, SCHEDULED_SENT), order="oldest", limit=_OPEN
        )
        return self.storage.find(query)

    def newest(self, name: str) -> list[TaskRecord]:
        return self.storage.find(TaskQuery(name=name, limit=200))
