"""The step by which a worker holds paused queues back before it consumes, at each connection."""

from __future__ import annotations

import logging
from typing import Any

from celery import Celery, bootsteps
from celery.worker.consumer.tasks import Tasks

from fullresult.extension.parts import parts_of
from fullresult.recording.paused_queues import PausedQueues
from fullresult.storage import PauseStorage

logger = logging.getLogger(__name__)


class HoldPausedQueues(bootsteps.StartStopStep):  # type: ignore[misc]
    """Stands after the consumer of tasks is made, and before it consumes."""

    requires = (Tasks,)

    def start(self, c: Any) -> None:
        try:
            _hold(c)
        except Exception:  # nothing of this may end a worker
            logger.exception("fullresult: this worker does not know which queues are paused")


def _hold(consumer: Any) -> None:
    parts = parts_of(consumer.app)
    if parts is None or not isinstance(parts.storage, PauseStorage):
        return
    known = parts.paused_queues
    if known is not None and known.consumer is consumer:  # it has connected anew
        known.apply()
        return
    parts.paused_queues = made = PausedQueues(consumer, parts.settings.namespace)
    made.begin(parts.storage)


def add_to(app: Celery) -> None:
    """Have the workers of *app* do it. Called before a worker makes its consumer."""
    app.steps["consumer"].add(HoldPausedQueues)
