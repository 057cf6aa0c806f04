"""Clocks: a storage's, read without asking it each time, and one that does not stop with us."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

_RESOLUTION = timedelta(milliseconds=1)
"""Storages truncate their time to the millisecond."""
_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)
"""Linux's clock that goes on while the machine sleeps, as Python's monotonic one does not."""


def unstopped(ask: Callable[[], datetime]) -> Callable[[], float]:
    """A clock of seconds that goes on while this process is stopped or its machine sleeps.

    It is the machine's, if that has one, else the storage's, which *ask* tells: then each reading
    raises `StorageError`.
    """
    if _BOOTTIME is None:
        return lambda: ask().timestamp()
    return partial(time.clock_gettime, _BOOTTIME)


class StorageClock:
    """The time of a storage, asked for every 30 seconds and counted on by this host in between.

    It is never behind the storage's own time, and ahead of it by at most the duration of the last
    question and a millisecond. Changes of this host's clock have no effect.
    """

    def __init__(
        self,
        ask: Callable[[], datetime],
        *,
        every: timedelta = timedelta(seconds=30),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._every = every.total_seconds()
        self._monotonic = monotonic
        self._known: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        """Aware, UTC. Raises `StorageError`."""
        known, at = self._known, self._monotonic()
        if known is None or at - known[1] > self._every:
            known = self._ask() + _RESOLUTION, at
            self._known, at = known, self._monotonic()
        return known[0] + timedelta(seconds=at - known[1])
