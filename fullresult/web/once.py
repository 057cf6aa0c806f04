"""The requests that were acted upon: one that is sent twice acts once."""

from __future__ import annotations

import threading
from collections import OrderedDict

_REMEMBERED = 10_000


class Once:
    """The names of the last requests that this process acted upon."""

    def __init__(self) -> None:
        self._done: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def first_time(self, name: str) -> bool:
        """True if nothing was done under *name*; from now on it was. An empty one is no name."""
        with self._lock:
            if not name or name in self._done:
                return False
            self._done[name] = None
            if len(self._done) > _REMEMBERED:
                self._done.popitem(last=False)
            return True

    def forget(self, name: str) -> None:
        """Nothing was done under *name* after all."""
        with self._lock:
            self._done.pop(name, None)
