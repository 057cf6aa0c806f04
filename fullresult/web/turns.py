"""Turns: costly calls that any stranger can cause, a few at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

T = TypeVar("T")


class Turns:
    """Runs blocking calls in threads, *number* at a time.

    A call that waits for its turn holds no thread, so other pages go on.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._limiter: CapacityLimiter | None = None

    async def run(self, do: Callable[..., T], *args: object) -> T:
        # Made here, as there must be an event loop.
        self._limiter = self._limiter or CapacityLimiter(self._number)
        return await to_thread.run_sync(do, *args, limiter=self._limiter)
