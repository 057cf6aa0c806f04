"""Clocks: a storage's, read without asking it each time, and one that does not stop with us."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

AskTime = Callable[[Callable[[], datetime]], datetime]
"""Asks a storage for its time, and tells the process if there is no answer."""
_RESOLUTION = timedelta(milliseconds=1)
"""Storages truncate their time to the millisecond."""
_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)
"""Linux's clock that goes on while the machine sleeps, as Python's monotonic one does not."""


def host_clock() -> float:
    """Seconds of this host's clock; on Linux it goes on while the machine sleeps."""
    return time.monotonic() if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)


def unstopped(ask: Callable[[], datetime]) -> Callable[[], float]:
    """A clock of seconds that goes on while this process is stopped or its machine sleeps.

    It is the machine's, if that has one, else the storage's, which *ask* tells: then each reading
    raises `StorageError`.
    """
    if _BOOTTIME is None:
        return lambda: ask().timestamp()
    return host_clock


def plainly(ask: Callable[[], datetime]) -> datetime:
    return ask()


class StorageClock:
    """The time of a storage, asked for at least once a second and counted on by this host between.

    It is never behind the storage's own time, and ahead of it by at most the duration of the last
    question and a millisecond. Changes of this host's clock have no effect. After `forget` nothing
    that was asked before counts: another server, with another time, may be the storage now.
    """

    def __init__(
        self,
        ask: Callable[[], datetime],
        *,
        every: timedelta = timedelta(seconds=1),
        elapsed: Callable[[], float] = host_clock,
    ) -> None:
        self._ask = ask
        self._every = every.total_seconds()
        self._elapsed = elapsed
        self._known: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        """Aware, UTC. Raises `StorageError`."""
        known, at = self._known, self._elapsed()
        if known is None or at - known[1] > self._every:
            self._known = None
            known = self._ask() + _RESOLUTION, at
            self._known, at = known, self._elapsed()
        return known[0] + timedelta(seconds=at - known[1])

    def forget(self) -> None:
        """Ask the storage the next time. To be called after each error of the storage."""
        self._known = None
