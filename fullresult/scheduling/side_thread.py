"""A second thread of the sweeper: it asks the storage while the first one waits for the broker."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from fullresult.storage import StorageError
from fullresult.storage.threads import begin

logger = logging.getLogger(__name__)


class SideThread:
    """Does one thing at a time while its caller does another."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def start(self, do: Callable[[], None]) -> None:
        """Call *do* in a thread. A `StorageError` only ends it: the caller will meet it again."""
        thread = threading.Thread(target=self._run, args=(do,), name="fullresult-side", daemon=True)
        try:
            begin(thread)
        except RuntimeError:  # there can be no more threads
            self._run(do)
        else:
            self._thread = thread

    def _run(self, do: Callable[[], None]) -> None:
        try:
            do()
        except StorageError:
            return
        except Exception:
            logger.exception("fullresult: the sweeper's second thread failed")

    def join(self) -> None:
        """Wait until it is done."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
