"""A circuit breaker: after one failure nobody waits for the storage until a probe succeeds."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import TypeVar

from fullresult.storage import Refused, StorageError

logger = logging.getLogger(__name__)
T = TypeVar("T")
U = TypeVar("U")

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
        self._renew()
        self._open_until: float | None = None
        self._skipped = 0
        reference = weakref.ref(self)  # what is registered stays so for good

        def renew() -> None:
            if (breaker := reference()) is not None:
                breaker._renew()  # noqa: SLF001  (its own)

        os.register_at_fork(after_in_child=renew)

    def _renew(self) -> None:
        # Re-entrant, for a signal handler may publish.
        self._lock = threading.RLock()

    def call(self, do: Callable[[], T], otherwise: T) -> T:
        """`do()`; *otherwise* where the storage does not answer or is not asked."""
        if self._open_until is not None and not self._may_probe():
            return otherwise
        began = self._monotonic()
        answer, heard = self._try(do, otherwise, began)
        if heard:
            self._answered()
        return answer

    def ask(self, do: Callable[[], T]) -> T:
        """`do()`. Raises its `StorageError`, or one at once where the storage is not asked."""
        if self._open_until is not None and not self._may_probe(events=0):
            raise StorageError("the storage did not answer a moment ago, and is asked again later")
        began = self._monotonic()
        try:
            answer = do()
        except Refused:
            self._answered()
            raise
        except StorageError as error:
            self._failed(error, self._monotonic() - began, events=0)
            raise
        except BaseException:
            self._cut_short()
            raise
        self._answered()
        return answer

    def overlap(self, begin: Callable[[], Callable[[], object]]) -> Callable[[], None]:
        """Call *begin*, and return what ends it: the call of what *begin* returned.

        The two are one call: only its end says whether the storage answers.
        """
        if self._open_until is not None and not self._may_probe():
            return _nothing
        began = self._monotonic()
        end, _ = self._try(begin, None, began)
        if end is None:
            return _nothing

        def finish() -> None:
            _, heard = self._try(end, None, began)
            if heard:
                self._answered()

        return finish

    def _try(self, do: Callable[[], T], otherwise: U, began: float) -> tuple[T | U, bool]:
        """`do()` or *otherwise*, and whether the storage had an answer."""
        try:
            return do(), True
        except Refused as error:
            # One line for one event: of the traceback only the message helps.
            logger.error("fullresult: an event was not recorded: %s", error)  # noqa: TRY400
            return otherwise, True
        except StorageError as error:
            self._failed(error, self._monotonic() - began)
            return otherwise, False
        except BaseException:
            self._cut_short()
            raise

    def _cut_short(self) -> None:
        """A probe was interrupted: another is due."""
        with self._lock:
            if self._open_until is not None:
                self._open_until = self._monotonic() + _SHORTEST

    def _answered(self) -> None:
        if self._open_until is not None:
            self._recovered()

    def _may_probe(self, events: int = 1) -> bool:
        with self._lock:
            now = self._monotonic()
            if self._open_until is None:
                return True
            if now < self._open_until:
                self._skipped += events
                return False
            # Only this caller probes; the others go on skipping until it has an answer.
            self._open_until = now + _LONGEST
            return True

    def _failed(self, error: StorageError, took: float, events: int = 1) -> None:
        with self._lock:
            was_open = self._open_until is not None
            pause = min(max(_SHORTEST, took * _PROBE_COST), _LONGEST)
            self._open_until = self._monotonic() + pause
            self._skipped += events
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


def _nothing() -> None:
    pass
