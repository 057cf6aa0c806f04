"""The thread of a flusher, and how others wake and end it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from fullresult.storage.threads import Stop, begin

_TICK = 0.05
COLLECT = 0.03
"""Seconds for which events come together before they are written."""


class FlusherThread:
    """One thread, from the first event that is kept until nothing is left to write."""

    def __init__(self) -> None:
        self._stop = Stop()
        self._will_look = False

    def start(self, work: Callable[[FlusherThread], None]) -> None:
        """Run *work* in it. Raises `RuntimeError` if there can be no more threads."""
        self._thread = threading.Thread(
            target=work, args=[self], name="fullresult-flusher", daemon=True
        )
        begin(self._thread)

    @property
    def is_ending(self) -> bool:
        return self._stop.is_set()

    def wake(self) -> None:
        """Have it look at what there is to write. Cheap, if it is to look anyway."""
        if not self._will_look:
            self._will_look = True
            self._stop.wake()

    def end(self, seconds: float, unless: Callable[[], bool] = lambda: False) -> None:
        """Let it come to an end, and wait at most *seconds* for that, and not while *unless*."""
        self._stop.set()
        deadline = time.monotonic() + seconds
        while (
            not unless() and self._thread.is_alive() and (left := deadline - time.monotonic()) > 0
        ):
            self._thread.join(min(left, _TICK))

    def wait(self, seconds: float | None) -> None:
        """Wait until it is woken, at most *seconds*, and then a moment for more events to come."""
        if not self.is_ending and self._stop.wait(seconds):
            self.rest(COLLECT)
        self._will_look = False

    def rest(self, seconds: float) -> None:
        """Sleep, unless it is to end."""
        deadline = time.monotonic() + seconds
        while not self.is_ending and (left := deadline - time.monotonic()) > 0:
            self._stop.wait(left)
        self._will_look = False
