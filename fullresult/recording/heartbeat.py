"""A worker's heartbeat: a thread of its main process tells the storage that it lives."""

from __future__ import annotations

import logging
import random
import threading
import time
from datetime import datetime, timedelta

from fullresult.record.card import Card, WorkerCard, names_id_of, names_text
from fullresult.record.worker import Worker
from fullresult.recording.paused_queues import PausedQueues
from fullresult.recording.worker_card import CardMaker
from fullresult.storage import CardStorage, PauseStorage, Storage, StorageError, WorkerStorage
from fullresult.storage.clock import AskTime, plainly
from fullresult.storage.threads import Stop, begin

logger = logging.getLogger(__name__)

_LEASE = 2.5
"""A worker counts as alive for 2.5 intervals after its last beat."""
_SOON = 5
"""After one failed beat the next comes after 1/5 of the interval, after two 2/5, and so on."""
_KEPT = timedelta(days=30)
"""A worker that was not heard of for 30 days is deleted."""
_MOST_GONE = 10_000
"""Of the workers that are gone, those seen last are kept."""
_DRIFT = 1.0
"""Seconds by which a clock must have moved before a card is written for that."""


class Heartbeat:
    """Beats at once, and then at the interval of `fullresult_heartbeat`, until it is stopped.

    It has a thread of its own, because Celery's event loop ends before the last tasks do, and
    because a storage that hangs must stop nothing else.
    """

    def __init__(
        self,
        storage: Storage,
        worker_id: str,
        name: str,
        every: timedelta,
        maker: CardMaker | None = None,
        ask: AskTime = plainly,
        paused: PausedQueues | None = None,
    ) -> None:
        self._storage = storage
        self._paused = paused
        self._cards = KeptCard(worker_id, maker) if maker is not None else None
        self._ask = ask
        self._id, self._name = worker_id, name
        self._every = every
        self._started: datetime | None = None
        self._failures = 0
        self._stop = Stop()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Beat in a thread of this process."""
        self._thread = threading.Thread(target=self.run, name="fullresult-heartbeat", daemon=True)
        begin(self._thread)

    def stop(self, timeout: float) -> None:
        """Store that the worker ended as it should. Waits at most *timeout* seconds."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout)

    def wake(self) -> None:
        """Beat now. May be called from any thread."""
        self._stop.wake()

    def run(self) -> None:
        """Beat until `stop` is called. An outage is logged once, and waited for."""
        while not self._stop.is_set():
            self._stop.wait(self._beat())
        if not self._failures:  # else the storage does not answer
            self._beat(ends=True)

    def _beat(self, *, ends: bool = False) -> float:
        """Store that the worker lives, or *ends*. Returns the seconds until the next beat."""
        # Scattered, so that many workers do not beat at the same moment.
        seconds = self._every.total_seconds() * random.uniform(0.8, 1)  # noqa: S311
        try:
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
        asked = time.time()
        now = self._ask(storage.now)
        ahead = (asked + time.time()) / 2 - now.timestamp()
        is_first, self._started = self._started is None, self._started or now
        until = now + _LEASE * self._every
        stopped = now if ends else None
        storage.note_worker(Worker(self._id, self._name, self._started, now, until, stopped))
        if is_first:
            storage.forget_workers(now - _KEPT)
        if self._paused is not None and not ends and isinstance(storage, PauseStorage):
            self._paused.follow(storage, now)
        if isinstance(storage, CardStorage):
            if is_first:
                storage.forget_gone(now, _MOST_GONE)
            if self._cards is not None and not ends:
                self._cards.keep(storage, now, ahead)


class KeptCard:
    """The card of this worker, written when it changed."""

    def __init__(self, worker_id: str, maker: CardMaker) -> None:
        self._id = worker_id
        self._maker = maker
        self._kept: tuple[Card, str] | None = None
        self._failed = False

    def keep(self, storage: CardStorage, now: datetime, ahead: float) -> None:
        """Store the card, unless it is the one stored last. A failure is logged once."""
        known = self._kept[0].clock_ahead if self._kept else None
        drifted = known is None or abs(ahead - known) >= _DRIFT
        card = self._maker.card(round(ahead, 1) if drifted else known or 0.0)
        names = names_text(self._maker.registered())
        if (card, names) == self._kept:
            return
        try:
            storage.note_card(WorkerCard(self._id, now, names_id_of(names), card.text), names)
        except StorageError as error:
            if not self._failed:
                logger.warning("fullresult: this worker's card is not kept: %s", error)
            self._failed = True
        else:
            self._kept, self._failed = (card, names), False


def _log(error: Exception) -> None:
    logger.warning(
        "fullresult: this worker's heartbeat does not reach the storage; until it does, the "
        "worker's running tasks may be taken for orphans: %s",
        error,
        exc_info=None if isinstance(error, StorageError) else error,
    )
