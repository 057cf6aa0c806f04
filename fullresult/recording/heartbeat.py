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
"""So many times as long as from one beat to the next a worker is believed to live."""
_SOON = 5
"""After a beat that failed, the next one comes in one part of so many of the time, then in two."""
_KEPT = timedelta(days=30)
"""Who was not heard of for so long is forgotten."""


class Heartbeat:
    """Tells at once, and then every so often, until it is stopped.

    In a thread of its own: while a worker ends, its tasks still run, and Celery's event loop and
    its heartbeats are over. And a storage that hangs stops nothing else.
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
        """Tell that the worker ended as it should, and wait for that, at most *timeout* seconds."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def run(self) -> None:
        """Beat until `stop` is called. Outages are logged, and waited for."""
        while not self._stop.wait(self._beat()):
            pass
        if not self._failures:  # or nobody listens
            self._beat(ends=True)

    def _beat(self, *, ends: bool = False) -> float:
        """Tell that the worker lives, or *ends*. Returns the seconds until it is time again."""
        # Not all at the same moment, where there are many.
        seconds = self._every.total_seconds() * random.uniform(0.8, 1)  # noqa: S311
        try:
            with self._gate:
                self._tell(ends=ends)
        except Exception as error:  # noqa: BLE001  (a heart that stops is a worker that is missed)
            self._failures += 1
            if self._failures == 1:
                _log(error)
            return seconds * min(self._failures, _SOON) / _SOON
        self._failures = 0
        return seconds

    def _tell(self, *, ends: bool) -> None:
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
        "fullresult: the storage does not hear this worker's heartbeat; until it does, its running "
        "tasks may be taken for orphans: %s",
        error,
        exc_info=None if isinstance(error, StorageError) else error,
    )
