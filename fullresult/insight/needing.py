"""How many tasks need somebody: those that are lost, and failures that nobody has dealt with."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from fullresult.insight.counts import count_stale
from fullresult.insight.failures import Failures
from fullresult.insight.fleet import fleet_of
from fullresult.insight.pauses import pauses_now
from fullresult.record import FAILURE, REVOKED
from fullresult.record.schedule import ScheduleQuery
from fullresult.storage import (
    FailureStorage,
    ScheduleStorage,
    StatisticsStorage,
    Storage,
    TaskQuery,
    WorkerStorage,
)

if TYPE_CHECKING:
    from fullresult.config import Settings

MOST = 100
"""No kind is counted further."""
_A_DAY = timedelta(days=1)


class Needing(NamedTuple):
    """Numbers of tasks; each is `MOST` at most."""

    stale: int = 0
    """Not those that were sent again."""
    stale_at_least: bool = False
    """There may be more stale tasks: not all of those that are open were looked at."""
    orphans: int = 0
    stale_scheduled: int = 0
    failures: int = 0
    """Those that ended in the last day, are not dealt with, and are in no group that is muted."""
    workers: int = 0
    """Workers that are gone."""
    paused: int = 0
    """Queues that are paused."""

    @property
    def lost(self) -> int:
        return self.stale + self.orphans + self.stale_scheduled


def needing(storage: Storage, settings: Settings) -> Needing:
    """What needs somebody now. Raises `StorageError`."""
    if not isinstance(storage, StatisticsStorage):
        return Needing()
    now = storage.now()
    late = now - settings.stale_after
    has_schedules = isinstance(storage, ScheduleStorage)
    fleet = fleet_of(storage, running=False) if isinstance(storage, WorkerStorage) else None
    failed = TaskQuery(state=FAILURE, since=now - _A_DAY, unresolved=True)
    stale, stale_at_least = count_stale(storage, late, MOST, rest=False)
    return Needing(
        stale=stale,
        stale_at_least=stale_at_least,
        orphans=min(fleet.orphans, MOST) if fleet else 0,
        stale_scheduled=(
            storage.count_capped(ScheduleQuery(due_until=late), MOST) if has_schedules else 0
        ),
        failures=(
            _left_in_groups(storage)
            if isinstance(storage, FailureStorage)
            else storage.count_capped(failed, MOST)
        ),
        workers=min(fleet.gone, MOST) if fleet else 0,
        paused=min(len(pauses_now(storage, settings, now)), MOST),
    )


def _left_in_groups(storage: Storage) -> int:
    # As their page has them: to look for those left among a million others takes seconds.
    left = (each for each in Failures(storage).find(_A_DAY) if each.state != REVOKED)
    return min(sum(each.unresolved for each in left), MOST)
