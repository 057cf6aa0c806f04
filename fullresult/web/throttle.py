"""How often somebody may guess a password."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

MOST, MOST_OF_ALL = 5, 30
"""Wrong ones within the time, of one name from one address, and of all."""
WITHIN = 60.0
"""Seconds."""
_REMEMBERED = 10_000


class Throttle:
    """Counts what failed lately. Of this process: several count apart."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: deque[tuple[float, str]] = deque(maxlen=_REMEMBERED)
        self._lock = threading.Lock()

    def wait(self, who: str) -> float:
        """Seconds that *who* has to wait before the next guess; 0 for none."""
        with self._lock:
            now = self._clock()
            while self._failed and self._failed[0][0] <= now - WITHIN:
                self._failed.popleft()
            mine = [at for at, other in self._failed if other == who]
            waits = [at + WITHIN - now for at in mine[-MOST:][:1] if len(mine) >= MOST]
            if len(self._failed) >= MOST_OF_ALL:
                waits.append(self._failed[-MOST_OF_ALL][0] + WITHIN - now)
            return max(waits, default=0.0)

    def failed(self, who: str) -> None:
        with self._lock:
            self._failed.append((self._clock(), who))

    def forget(self, who: str) -> None:
        """The last attempt of *who* was no failure."""
        with self._lock:
            for index in range(len(self._failed) - 1, -1, -1):
                if self._failed[index][1] == who:
                    del self._failed[index]
                    break
