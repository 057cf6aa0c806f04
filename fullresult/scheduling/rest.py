"""How a sweeper rests: until a task is due, and no longer than `fullresult_sweep_interval`."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from fullresult.scheduling.commits import Commits
from fullresult.storage.clock import StorageClock

if TYPE_CHECKING:
    from fullresult.config import Settings
    from fullresult.scheduling.lease import Lease
    from fullresult.storage import ScheduleStorage
    from fullresult.storage.threads import Stop

_ASK_EVERY = timedelta(seconds=30)


class Rest:
    """The pauses of one sweeper."""

    def __init__(
        self, settings: Settings, storage: ScheduleStorage, lease: Lease, stop: Stop
    ) -> None:
        self._settings = settings
        self._storage = storage
        self._lease = lease
        self._stop = stop
        self._commits = Commits(settings, storage, stop.wake)
        # Only pauses are measured by it: every claim asks the storage.
        self._clock = StorageClock(storage.now, every=_ASK_EVERY)

    def until_due(self, is_to_sweep: Callable[[], bool]) -> None:
        """Sleep, but renew the lease meanwhile, by asking *is_to_sweep*."""
        self._commits.listen()
        until = time.monotonic() + self._idle_for()
        while not self._stop.is_set() and is_to_sweep():
            left = until - time.monotonic()
            if left <= 0:
                return
            poll = self._commits.pause or left
            woken = self.sleep(min(left, self._lease.pause, poll))
            self._commits.heard()
            if woken or poll < left:
                until = time.monotonic() + self._idle_for()

    def sleep(self, seconds: float) -> bool:
        """True if it was woken."""
        return self._stop.wait(max(seconds, 0.001))

    def swept(self) -> None:
        """Something was due: more may follow, by commits of which no notice comes."""
        self._commits.came()

    def end(self) -> None:
        """Somebody else sweeps, or nobody."""
        self._commits.stop()

    def _idle_for(self) -> float:
        """Seconds until the next task is due, or until it is time to look again."""
        # Scattered, so that many sweepers do not look at the same moment.
        interval = self._settings.sweep_interval.total_seconds() * random.uniform(0.8, 1)  # noqa: S311
        due = self._storage.next_due(self._settings.namespace)
        if due is None:
            return interval
        return min((due - self._clock.now()).total_seconds(), interval)
