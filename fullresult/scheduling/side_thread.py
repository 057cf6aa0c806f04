"""Doing something with the storage while the broker works."""

from __future__ import annotations

import threading
from collections.abc import Callable

from fullresult.storage import StorageError
from fullresult.storage.threads import ForkGate


class Beside:
    """A thread, now and then, that does one thing while its caller does another."""

    def __init__(self) -> None:
        self._gate = ForkGate()
        self._thread: threading.Thread | None = None

    def start(self, do: Callable[[], None]) -> None:
        """Call *do* in a thread. Its `StorageError` ends it in silence: who goes on will see."""
        self._thread = threading.Thread(
            target=self._run, args=(do,), name="fullresult-beside", daemon=True
        )
        self._thread.start()

    def _run(self, do: Callable[[], None]) -> None:
        with self._gate:
            try:
                do()
            except StorageError:
                return

    def join(self) -> None:
        """Wait for it."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
