"""Forks and threads: no fork falls into what a thread is doing with sockets and locks."""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import AbstractContextManager

_PATIENCE = 5.0
"""Seconds that a fork waits for the thread."""


class ForkGate(AbstractContextManager["ForkGate"]):
    """What is done `with` it, by one thread at a time, a fork waits for.

    A child inherits every lock as it is at that moment, but not the thread that would free it.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._held = False
        reference = weakref.ref(self)  # what is registered stays so for good

        def before() -> None:
            if (gate := reference()) is not None:
                gate._held = gate._lock.acquire(timeout=_PATIENCE)  # noqa: SLF001  (its own)

        def in_parent() -> None:
            if (gate := reference()) is not None and gate._held:  # noqa: SLF001
                gate._held = False  # noqa: SLF001
                gate._lock.release()  # noqa: SLF001

        def in_child() -> None:
            if (gate := reference()) is not None:
                gate._lock, gate._held = threading.RLock(), False  # noqa: SLF001

        os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=in_child)

    def __enter__(self) -> ForkGate:  # noqa: PYI034
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()
