"""The threads of one worker: its heartbeat, its sweeper and its flusher, from ready to shutdown."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from celery import signals

from fullresult.outage import flusher
from fullresult.record import encoding
from fullresult.recording import this_worker
from fullresult.recording.heartbeat import Heartbeat
from fullresult.recording.worker_card import CardMaker
from fullresult.storage import WorkerStorage

if TYPE_CHECKING:
    from fullresult.extension.parts import Parts

_PATIENCE = 10.0
"""Seconds that a worker waits, as it ends, for its sweeper's last message."""


class RunningWorker:
    """Starts the threads of a worker's main process, and stops them at its last signals.

    These signals do not name the app. So this connects itself to them, once for each app that has
    a worker here, and weakly: the app's parts hold it.
    """

    def __init__(self, parts: Parts, consumer: Any) -> None:
        self._parts = parts
        self._heartbeat = self._begin_heartbeat(consumer)
        if parts.recorder.writer.flusher is not None:
            parts.recorder.writer.flusher.stay()
        self._sweeps = parts.settings.sweeps and parts.settings.sweeper == "worker"
        if self._sweeps:
            parts.start_sweeper()
        signals.worker_shutting_down.connect(self.on_worker_shutting_down)
        signals.worker_shutdown.connect(self.on_worker_shutdown)

    def _begin_heartbeat(self, consumer: Any) -> Heartbeat | None:
        storage, every = self._parts.storage, self._parts.settings.heartbeat
        if not every or not isinstance(storage, WorkerStorage):
            return None
        name, paused = encoding.key(consumer.hostname), self._parts.paused_queues
        held = tuple if paused is None else paused.held
        maker = CardMaker(consumer, self._parts.settings, held)
        ask = self._parts.recorder.writer.listen
        heartbeat = Heartbeat(storage, this_worker.worker_id(), name, every, maker, ask, paused)
        if paused is not None:
            paused.changed = heartbeat.wake
        heartbeat.start()
        return heartbeat

    def told(self, queue: str, *, paused: bool) -> bool:
        """Somebody pauses or resumes *queue*. False if this worker does not follow pauses."""
        known = self._parts.paused_queues
        if known is None or self._heartbeat is None:
            return False
        known.tell(queue, paused=paused)
        self._heartbeat.wake()
        return True

    def on_worker_shutting_down(self, **_: Any) -> None:
        # Inside a handler of the operating system's signal: nothing here may wait for a lock.
        if self._sweeps:
            self._parts.stop_sweeper()

    def on_worker_shutdown(self, **_: Any) -> None:
        if self._sweeps:
            self._parts.stop_sweeper(timedelta(seconds=_PATIENCE))
        if self._heartbeat is not None:
            # Not before: until here the pool had tasks to finish.
            self._heartbeat.stop(_PATIENCE)
        flusher.finish_all()
        self._parts.worker = None
