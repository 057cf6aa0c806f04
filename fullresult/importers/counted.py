"""Rows that became no record, so that none is counted twice where rows are read again."""

from __future__ import annotations

from datetime import datetime
from typing import Any


class Counted:
    """Those that may be read again: what changed long ago is read once, before the first look."""

    def __init__(self, since: datetime, after: Any = None) -> None:
        self._since = since
        self._after = after
        """The position behind which rows are read; an earlier import has counted those before."""
        self._changed: dict[int, datetime | None] = {}
        """When each was last changed, by the hash of its task id."""
        self._looks = False

    def look_again(self, since: datetime) -> None:
        """From now on rows that changed at *since* or later, and perhaps others, are read again."""
        self._looks, self._since = True, since
        self._changed = {
            key: changed
            for key, changed in self._changed.items()
            if changed is None or changed >= since
        }

    def add(self, task_id: str, changed: datetime | None = None, position: Any = None) -> bool:
        """Note a row, changed then, at *position*. True if it was not counted yet."""
        if changed is not None and changed < self._since:
            return not self._looks
        if None not in (position, self._after) and position <= self._after:
            return False
        if self.has(task_id):
            return False
        self._changed[hash(task_id)] = changed
        return True

    def has(self, task_id: str) -> bool:
        return hash(task_id) in self._changed
