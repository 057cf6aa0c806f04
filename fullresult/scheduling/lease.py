"""Leases: of all sweepers of a namespace one sweeps, two look after it, and the rest sleep."""

from __future__ import annotations

import random
import time
from datetime import datetime, timedelta

from fullresult.storage import ScheduleStorage
from fullresult.storage.clock import AskTime, plainly

_SEATS = 3
_RENEW = 2.0
"""Seconds between two looks of those who hold a lease."""
_LOOK = 30.0
"""Seconds between two looks of the rest, whose number has no bound."""
_FREE_AFTER = timedelta(seconds=6)
"""The age at which a lease that was not renewed is free."""
_BEHIND = timedelta(seconds=3)
"""A task that has been due for so long has more than one sweeper at work."""


class Lease:
    """The lease of one sweeper, if it has one, kept as notes of sweeps.

    It saves work and promises nothing: two sweepers that both believe to have the first lease send
    each task once all the same. A lease is known by the time that its holder noted last. Whoever
    finds another time there has lost it; a time in the future binds nobody.
    """

    def __init__(self, storage: ScheduleStorage, namespace: str, ask: AskTime = plainly) -> None:
        self._storage = storage
        self._ask = ask
        self._namespace = namespace
        self._seat: int | None = None
        self._noted: datetime | None = None
        self._next_look = 0.0
        self._sweeps = True

    def sweeps(self) -> bool:
        """True if this sweeper is to sweep now: the first lease is its own, or it must help.

        Raises `StorageError`.
        """
        if time.monotonic() >= self._next_look:
            self._look()
            pause = _LOOK if self._seat is None else _RENEW
            self._next_look = time.monotonic() + pause * random.uniform(0.8, 1)  # noqa: S311
        return self._sweeps

    def is_done(self) -> None:
        """Nothing is due: whoever only helps need not go on."""
        self._sweeps = self._seat == 0

    @property
    def pause(self) -> float:
        """Seconds until the next look."""
        return max(self._next_look - time.monotonic(), 0.0)

    def _look(self) -> None:
        now = self._ask(self._storage.now)
        self._seat = next((seat for seat in range(_SEATS) if self._takes(seat, now)), None)
        self._sweeps = self._seat == 0 or self._is_behind(now)

    def _takes(self, seat: int, now: datetime) -> bool:
        name = f"{self._namespace} (lease {seat})"
        last = self._storage.last_sweep(name)
        is_mine = seat == self._seat and last == self._noted
        if not is_mine and last is not None and abs(now - last) <= _FREE_AFTER:
            return False
        self._storage.note_sweep(name, now)
        self._noted = now
        return True

    def _is_behind(self, now: datetime) -> bool:
        due = self._storage.next_due(self._namespace)
        return due is not None and now - due > _BEHIND
