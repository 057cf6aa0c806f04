"""Adoption: one process of a host looks now and then for what dead processes have left."""

from __future__ import annotations

import time

from fullresult.outage.segment import Segment
from fullresult.outage.spool import Spool

LOOK_EVERY = 3.0
"""Seconds between two looks, at least."""
_FOR_EACH = 0.05
"""The same for each segment that is there: a look opens and locks the file of each process."""


class Adoption:
    """Answers the segments of dead processes, by looks that are rare enough to cost little."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._due = float("-inf")

    def soon(self) -> bool:
        """Look the next time, whenever that is. False if another process does."""
        if self._due == float("inf"):
            return False
        self._due = float("-inf")
        return True

    def leave(self) -> None:
        """Look no more: the parent of this process does."""
        self._due = float("inf")

    def segment(self) -> Segment | None:
        """A segment of a dead process, now this one's; None if there is none, or no look is due."""
        now = time.monotonic()
        if now < self._due:
            return None
        segment = self._spool.adopt()
        if segment is None:
            self._due = now + max(LOOK_EVERY, _FOR_EACH * self._spool.segments)
        return segment
