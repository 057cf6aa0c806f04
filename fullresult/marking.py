"""Marking what was sent while more is being sent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from fullresult.forking import ForkGate
from fullresult.storage import StorageError

T = TypeVar("T")


class Marker(Generic[T]):
    """A thread, now and then, that marks a batch: its storage waits while the broker works."""

    def __init__(self, mark: Callable[[T], None]) -> None:
        self._mark = mark
        self._gate = ForkGate()
        self._thread: threading.Thread | None = None

    def start(self, batches: list[T]) -> None:
        """Mark the one batch, if any, that waits in *batches*; it leaves them once it is marked.

        Where that fails it stays, for who marks the others.
        """
        if batches:
            self._thread = threading.Thread(
                target=self._run, args=(batches,), name="fullresult-marker", daemon=True
            )
            self._thread.start()

    def _run(self, batches: list[T]) -> None:
        with self._gate:
            try:
                self._mark(batches[0])
            except StorageError:
                return  # it is tried again, and said then
            batches.pop(0)

    def join(self) -> None:
        """Wait for it."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
