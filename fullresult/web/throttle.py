"""A bound on how often passwords are guessed."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

MOST, MOST_OF_NAME, MOST_OF_ALL = 5, 10, 30
"""Wrong guesses within the time: of one name from one address, of one name, of all.

A proxy may pass on a false address, but nobody guesses under a false name.
"""
WITHIN = 60.0
"""Seconds."""
_REMEMBERED = 10_000


class Who(NamedTuple):
    """The name and the address of a person who logs in."""

    name: str
    address: str = ""


class Throttle:
    """Counts the failed log-ins of this process; other processes have counts of their own."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: deque[tuple[float, Who]] = deque(maxlen=_REMEMBERED)
        self._lock = threading.Lock()

    def wait(self, who: Who) -> float:
        """Seconds that *who* has to wait before the next guess."""
        with self._lock:
            now = self._clock()
            while self._failed and self._failed[0][0] <= now - WITHIN:
                self._failed.popleft()
            every = list(self._failed)
            counted = (
                (MOST, [at for at, other in every if other == who]),
                (MOST_OF_NAME, [at for at, other in every if other.name == who.name]),
                (MOST_OF_ALL, [at for at, _ in every]),
            )
            full = (times[-most] for most, times in counted if len(times) >= most)
            return max((at + WITHIN - now for at in full), default=0.0)

    def failed(self, who: Who) -> None:
        with self._lock:
            self._failed.append((self._clock(), who))

    def forget(self, who: Who) -> None:
        """The last log-in of *who* succeeded after all."""
        with self._lock:
            for index in range(len(self._failed) - 1, -1, -1):
                if self._failed[index][1] == who:
                    del self._failed[index]
                    break
