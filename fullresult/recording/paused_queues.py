"""A worker's obedience: the queues that are paused are not consumed, and later they are again."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from fullresult.recording.worker_card import queues_of
from fullresult.storage import PauseStorage, Storage, StorageError
from fullresult.storage.threads import begin

logger = logging.getLogger(__name__)

_PATIENCE = 2.0
"""Seconds that a worker waits, as it starts, to hear which of its queues are paused."""


class PausedQueues:
    """Holds back those queues of one worker that are paused, and gives them back.

    The thread of the heartbeat asks what is paused; the worker's own loop cancels and adds
    consumers, for no client of a broker is made for two threads. What the storage said last counts
    while it does not answer. Only a queue that this worker consumed before is given back: one that
    somebody cancelled by hand stays as it is.
    """

    def __init__(self, consumer: Any, namespace: str) -> None:
        self.consumer = consumer
        self._namespace = namespace
        self._paused: frozenset[str] = frozenset()
        # The loop alone writes these two.
        self._held: frozenset[str] = frozenset()
        self._consumed: frozenset[str] = frozenset()
        self._failed = False
        self.changed: Callable[[], object] | None = None
        """Called in the worker's loop when it consumes other queues than before."""

    def tell(self, queue: str, *, paused: bool) -> None:
        """Somebody pauses or resumes *queue* now; the storage will say the same. In the loop."""
        self._paused = self._paused | {queue} if paused else self._paused - {queue}
        self.apply()

    def held(self) -> tuple[str, ...]:
        """The queues that it does not consume because they are paused."""
        return tuple(sorted(self._held))

    def begin(self, storage: Storage) -> None:
        """Hold back what is paused before the first message is taken; waits 2 s at most.

        Where the storage does not answer, all queues are consumed until it does.
        """
        if isinstance(storage, PauseStorage):
            asking = threading.Thread(
                target=self._learn, args=(storage, storage.now), name="fullresult-pauses"
            )
            asking.daemon = True
            begin(asking)
            asking.join(_PATIENCE)
            if asking.is_alive():
                self._fail(f"it did not answer within {_PATIENCE:g} s")
        self.apply()

    def follow(self, storage: PauseStorage, now: datetime) -> None:
        """Ask *storage* what is paused at *now*, and have the loop do what is to be done."""
        self._learn(storage, lambda: now)
        current = self._current()
        if current is None:
            return
        if self._paused & current or self._held - self._paused or current != self._consumed:
            self.consumer.call_soon(self.apply)

    def apply(self) -> None:
        """Cancel and add what is to be. In the worker's loop, or before that begins."""
        current, paused, before = self._current(), self._paused, self._held
        if current is None:
            return
        # Cancelled since the last look by whoever paused it: as workers without `FullResult` are.
        self._held |= paused & self._consumed - current
        try:
            for queue in sorted(paused & current):
                self._held |= {queue}
                self.consumer.cancel_task_queue(queue)
                logger.info("fullresult: queue %s is paused, and not consumed any more", queue)
            for queue in sorted(self._held - paused):
                if queue not in current:
                    self._add(queue)
                    logger.info("fullresult: queue %s is not paused any more: consumed", queue)
                self._held -= {queue}
        except Exception as error:  # noqa: BLE001  (of the broker's client; the loop finds out, too)
            logger.warning("fullresult: a queue could not be paused or resumed yet: %s", error)
        self._consumed = self._current() or frozenset()
        if self._held != before and self.changed is not None:
            self.changed()

    def _add(self, queue: str) -> None:
        self.consumer.add_task_queue(queue)
        # Without this, Celery 5.4 forgets it when it next connects to the broker.
        queues = self.consumer.app.amqp.queues
        queues.select_add(queues[queue])

    def _current(self) -> frozenset[str] | None:
        """The queues that it consumes; None while it has no connection."""
        if getattr(self.consumer, "task_consumer", None) is None:
            return None
        return frozenset(queues_of(self.consumer))

    def _learn(self, storage: PauseStorage, now: Callable[[], datetime]) -> None:
        """Keep which queues are paused; if the storage does not say, what was known stays."""
        try:
            found = [each for each in storage.find_pauses() if each.namespace == self._namespace]
            at = now() if found else None
        except StorageError as error:
            self._fail(error)
            return
        self._failed = False
        self._paused = frozenset(p.queue for p in found if at is not None and p.is_in_force(at))

    def _fail(self, why: object) -> None:
        if not self._failed:
            logger.warning(
                "fullresult: the storage does not say which queues are paused; this worker goes on "
                "with what it last knew: %s",
                why,
            )
        self._failed = True
