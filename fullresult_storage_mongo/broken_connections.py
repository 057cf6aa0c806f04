"""Whether connections break again and again: then who writes an event does not wait for others."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

_MANY = 5
_LATELY = 10.0
"""Seconds; longer than a breaker holds, so that it need not be learned anew each time it closes."""
_APART = 0.1
"""Seconds: what breaks within them broke together, as all connections do when a primary ends."""


class Breaks:
    """The last moments at which connections broke."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._moments: deque[float] = deque(maxlen=_MANY)

    def note(self) -> bool:
        """Whether the one that broke now is one of too many."""
        now, moments = self._monotonic(), self._moments
        if not moments or now - moments[-1] >= _APART:
            moments.append(now)
        return len(moments) == _MANY and now - moments[0] <= _LATELY
