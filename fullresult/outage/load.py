"""A segment on its way into the storage."""

from __future__ import annotations

from collections import deque

from fullresult.outage.lines import Count, Withdrawal
from fullresult.outage.segment import Segment
from fullresult.record import TaskRecord


class Load:
    """One segment on its way into the storage."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        frames, self.unreadable = segment.remembered, 0
        if frames is None:
            frames, self.unreadable = segment.read()
        # Withdrawals go first, as they stop a message. Counts go last: the results of a chord's
        # members may be among the events.
        self.withdrawals = deque(each for each in frames if isinstance(each, Withdrawal))
        self.events = deque(each for each in frames if isinstance(each, TaskRecord))
        self.counts = deque(each for each in frames if isinstance(each, Count))

    @property
    def is_written(self) -> bool:
        return not (self.withdrawals or self.events or self.counts)
