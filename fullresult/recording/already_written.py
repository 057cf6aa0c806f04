"""Ends written for the result backend: Celery's signal of the same end writes nothing."""

from __future__ import annotations

from collections import OrderedDict

_MOST = 10_000
"""Ends that no signal follows (of a chain, of `update_state`) are dropped as newer ones come."""


class AlreadyWritten:
    """The latest ends that this process wrote for its result backend. Safe in threads."""

    def __init__(self) -> None:
        self._ends: OrderedDict[tuple[str, str], None] = OrderedDict()

    def add(self, task_id: str, state: str) -> None:
        self._ends[task_id, state] = None
        while len(self._ends) > _MOST:
            try:
                self._ends.popitem(last=False)
            except KeyError:  # another thread was faster
                break

    def take(self, task_id: str, state: str) -> bool:
        """True if *state* was added for *task_id* and not taken since."""
        if not self._ends:
            return False
        try:
            del self._ends[task_id, state]
        except KeyError:
            return False
        return True
