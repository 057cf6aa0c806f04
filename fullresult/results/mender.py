"""A thread of a worker's main process that does for chords what one that was killed left undone."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4
from weakref import ref

from celery import Celery, signals

from fullresult.record import TaskRecord
from fullresult.results import bodies, ends
from fullresult.results.recount import Recount
from fullresult.storage import (
    CompleteChord,
    RecountingStorage,
    ResultStorage,
    Storage,
    StorageError,
)
from fullresult.storage.threads import Stop, begin

logger = logging.getLogger(__name__)

_AT_ONCE = 10
_LOOKED_AT = 20
"""Chords that are not complete, in one look."""


class Mender:
    """Looks for chords that stay complete, and for members that nobody counted."""

    def __init__(self, app: Celery, storage: Storage, results: ResultStorage) -> None:
        self._app = ref(app)
        self._storage = storage
        self._results = results
        self._stop = Stop()
        self._thread: threading.Thread | None = None
        self._not_before = 0.0
        """A time of `time.monotonic`: after an outage, bodies that were sent have no record yet."""

    def start(self) -> None:
        """Look after chords until the worker shuts down. Called again it does nothing."""
        if self._thread is not None:
            return
        self._thread = threading.Thread(target=self._run, name="fullresult-mender", daemon=True)
        begin(self._thread)
        # Weakly: this is held for as long as the app is there.
        signals.worker_shutdown.connect(self._on_worker_shutdown)

    def _on_worker_shutdown(self, **_: Any) -> None:
        self._stop.set()

    def _run(self) -> None:
        while (app := self._app()) is not None:
            lease = bodies.lease(app)
            # Not all workers at the same moment.
            if self._stop.wait(lease / 3 * random.uniform(0.8, 1)):  # noqa: S311
                return
            try:
                self._look(app, lease)
            except StorageError:
                self._not_before = time.monotonic() + lease
            except Exception:
                logger.exception("fullresult: chords that are complete are not looked after")

    def _look(self, app: Celery, lease: float) -> None:
        if time.monotonic() < self._not_before:
            self._storage.now()  # raises while it is away
        else:
            mend(app.backend.chords.mend, self._storage, self._results, lease)
            recount(app.backend, self._storage, self._results, lease)


def mend(
    do: Callable[[CompleteChord, str], None],
    storage: Storage,
    results: ResultStorage,
    lease: float,
) -> int:
    """Take over what is complete for longer than *lease* seconds; returns how many that is.

    Raises `StorageError`.
    """
    call = uuid4().hex
    before = storage.now() - timedelta(seconds=lease)
    done: set[str] = set()
    # One at a time: its lease begins when it is taken, and a broker may let each one wait.
    while len(done) < _AT_ONCE and (taken := results.take_complete_chords(before, call, 1)):
        if taken[0].chord_id in done:
            break
        done.add(taken[0].chord_id)
        do(taken[0], call)
    return len(done)


def recount(backend: Any, storage: Storage, results: ResultStorage, lease: float) -> int:
    """Count the members left out of chords that are quiet for *lease* seconds; returns how many.

    Raises `StorageError`.
    """
    if not isinstance(results, RecountingStorage):
        return 0

    def goes_on(record: TaskRecord) -> bool:
        try:
            is_early = backend.is_early(record)
        except Exception:  # noqa: BLE001  (a result that cannot be read lets the body fail, and says so)
            return False
        return is_early and not ends.gave_up(storage.get(record.task_id))

    count = Recount(results, results, goes_on, backend.chords.later_ends)
    counted, now = 0, storage.now()
    for chord in results.take_quiet_chords(now - timedelta(seconds=lease), _LOOKED_AT):
        try:
            counted += count(chord, backend.expire_at(), backend.chords.mend)
        except StorageError:
            raise
        except Exception:
            logger.exception("fullresult: members of chord %s are not recounted", chord.chord_id)
    return counted
