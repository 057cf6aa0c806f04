"""What the result backend has written already, so that Celery's signal does not write it again."""

from __future__ import annotations

from collections import OrderedDict

_MOST = 10_000
"""What no signal follows (a client's `update_state`, a chain's tail) is forgotten in the end."""


class Told:
    """The latest ends that the result backend was given in this process. Safe in threads."""

    def __init__(self) -> None:
        self._ends: OrderedDict[tuple[str, str], None] = OrderedDict()

    def put(self, task_id: str, state: str) -> None:
        self._ends[task_id, state] = None
        while len(self._ends) > _MOST:
            try:
                self._ends.popitem(last=False)
            except KeyError:  # another thread was faster
                break

    def take(self, task_id: str, state: str) -> bool:
        """Whether *state* was put for *task_id*, and not taken since."""
        if not self._ends:
            return False
        try:
            del self._ends[task_id, state]
        except KeyError:
            return False
        return True
