"""A circuit breaker: after one failure nobody waits for the storage until a probe succeeds."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from fullresult.storage import Refused, StorageError

logger = logging.getLogger(__name__)
T = TypeVar("T")

_SHORTEST = 1.0
_LONGEST = 60.0
_PROBE_COST = 10
"""A probe may take at most one part in so many of the time."""


class Breaker:
    """Lets calls through to a storage while it answers.

    A call that fails opens it: further calls are skipped at once. Every now and then one call is
    let through as a probe, the more rarely the longer the failed one took.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._open_until: float | None = None
        self._skipped = 0
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        self._lock = threading.Lock()

    def call(self, do: Callable[[], T], otherwise: T) -> T:
        """`do()`; *otherwise* where the storage does not answer or is not asked."""
        if self._open_until is not None and not self._may_probe():
            return otherwise
        began = self._monotonic()
        try:
            answer = do()
        except Refused as error:
            # One line for one event: of the traceback only the message helps.
            logger.error("fullresult: an event was not recorded: %s", error)  # noqa: TRY400
            answer = otherwise
        except StorageError as error:
            self._failed(error, self._monotonic() - began)
            return otherwise
        if self._open_until is not None:
            self._recovered()
        return answer

    def _may_probe(self) -> bool:
        with self._lock:
            now = self._monotonic()
            if self._open_until is None:
                return True
            if now < self._open_until:
                self._skipped += 1
                return False
            # Only this caller probes; the others go on skipping until it has an answer.
            self._open_until = now + _LONGEST
            return True

    def _failed(self, error: StorageError, took: float) -> None:
        with self._lock:
            was_open = self._open_until is not None
            pause = min(max(_SHORTEST, took * _PROBE_COST), _LONGEST)
            self._open_until = self._monotonic() + pause
            self._skipped += 1
        if not was_open:
            logger.warning(
                "fullresult: no answer from the storage; tasks go on unrecorded until there is: %s",
                error,
            )

    def _recovered(self) -> None:
        with self._lock:
            skipped, self._skipped = self._skipped, 0
            self._open_until = None
        logger.warning("fullresult: the storage answers again; %d events were lost", skipped)
