"""A flag that a signal handler may set while its own thread waits for it."""

from __future__ import annotations

import queue
from contextlib import suppress


class Stop:
    """Like `threading.Event`, whose lock a signal handler's own thread may hold."""

    def __init__(self) -> None:
        self._set = False
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        self._set = True
        self._news.put(None)  # which is reentrant, says Python's documentation

    def is_set(self) -> bool:
        return self._set

    def wait(self, seconds: float) -> bool:
        """Wait so long at most; whether it is set."""
        if not self._set:
            with suppress(queue.Empty):
                self._news.get(timeout=seconds)
        return self._set
