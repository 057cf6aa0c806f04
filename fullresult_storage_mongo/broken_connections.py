"""Counts broken connections: from the fifth within ten seconds on, a write fails at once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

_MANY = 5
_LATELY = 10.0
"""Seconds. Longer than a breaker stays open, so that it need not count again each time it closes.
"""
_APART = 0.1
"""Seconds. Connections that break within them count once: when a primary steps down, all of them
do."""


class Breaks:
    """The last moments at which connections broke."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._moments: deque[float] = deque(maxlen=_MANY)

    def note(self) -> bool:
        """Note a broken connection. True if it is the fifth within ten seconds, or a later one."""
        now, moments = self._monotonic(), self._moments
        if not moments or now - moments[-1] >= _APART:
            moments.append(now)
        return len(moments) == _MANY and now - moments[0] <= _LATELY
