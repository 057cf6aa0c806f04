"""A worker's heartbeat: a thread of its main process tells the storage that it lives."""

from __future__ import annotations

import logging
import random
import threading
from datetime import datetime, timedelta

from fullresult.record.worker import Worker
from fullresult.storage import Storage, StorageError, WorkerStorage
from fullresult.storage.threads import ForkGate, Stop

logger = logging.getLogger(__name__)

_LEASE = 2.5
"""A worker counts as alive for 2.5 intervals after its last beat."""
_SOON = 5
"""After one failed beat the next comes after 1/5 of the interval, after two 2/5, and so on."""
_KEPT = timedelta(days=30)
"""A worker that was not heard of for 30 days is deleted."""


class Heartbeat:
    """Beats at once, and then at the interval of `fullresult_heartbeat`, until it is stopped.

    It has a thread of its own, because Celery's event loop ends before the last tasks do, and
    because a storage that hangs must stop nothing else.
    """

    def __init__(self, storage: Storage, worker_id: str, name: str, every: timedelta) -> None:
        self._storage = storage
        self._id, self._name = worker_id, name
        self._every = every
        self._started: datetime | None = None
        self._failures = 0
        self._gate = ForkGate()
        self._stop = Stop()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Beat in a thread of this process."""
        self._thread = threading.Thread(target=self.run, name="fullresult-heartbeat", daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Store that the worker ended as it should. Waits at most *timeout* seconds."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def run(self) -> None:
        """Beat until `stop` is called. An outage is logged once, and waited for."""
        while not self._stop.wait(self._beat()):
            pass
        if not self._failures:  # else the storage does not answer
            self._beat(ends=True)

    def _beat(self, *, ends: bool = False) -> float:
        """Store that the worker lives, or *ends*. Returns the seconds until the next beat."""
        # Scattered, so that many workers do not beat at the same moment.
        seconds = self._every.total_seconds() * random.uniform(0.8, 1)  # noqa: S311
        try:
            with self._gate:
                self._note(ends=ends)
        except Exception as error:  # noqa: BLE001  (a heartbeat that stops makes orphans of healthy tasks)
            self._failures += 1
            if self._failures == 1:
                _log(error)
            return seconds * min(self._failures, _SOON) / _SOON
        self._failures = 0
        return seconds

    def _note(self, *, ends: bool) -> None:
        storage = self._storage
        assert isinstance(storage, WorkerStorage)
        now = storage.now()
        is_first, self._started = self._started is None, self._started or now
        until = now + _LEASE * self._every
        stopped = now if ends else None
        storage.note_worker(Worker(self._id, self._name, self._started, now, until, stopped))
        if is_first:
            storage.forget_workers(now - _KEPT)


def _log(error: Exception) -> None:
    logger.warning(
        "fullresult: this worker's heartbeat does not reach the storage; until it does, the "
        "worker's running tasks may be taken for orphans: %s",
        error,
        exc_info=None if isinstance(error, StorageError) else error,
    )
