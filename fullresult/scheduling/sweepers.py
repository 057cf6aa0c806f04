"""The sweepers of one app: one for the storage, and one for each outbox that is elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fullresult.scheduling.batch import Swept
from fullresult.storage.threads import begin

if TYPE_CHECKING:
    from fullresult.scheduling.sweeper import Sweeper


class Sweepers:
    """Each sweeps by itself: a database that does not answer holds up none of the others."""

    def __init__(self, sweepers: Sequence[Sweeper]) -> None:
        self.each = tuple(sweepers)

    @property
    def swept(self) -> Swept:
        """The sum of all that they did."""
        return sum((sweeper.swept for sweeper in self.each), Swept())

    def start(self) -> None:
        """Run in threads of this process."""
        for sweeper in self.each:
            sweeper.start()

    def stop(self) -> None:
        """Let each end after the message it is sending. Safe in threads and signal handlers."""
        for sweeper in self.each:
            sweeper.stop()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the threads to have stopped, at most *timeout* seconds for all of them."""
        until = None if timeout is None else time.monotonic() + timeout
        for sweeper in self.each:
            sweeper.join(None if until is None else max(until - time.monotonic(), 0.0))

    def run(self) -> None:
        """Sweep until `stop` is called."""
        first, *others = self.each
        threads = [threading.Thread(target=each.run, daemon=True) for each in others]
        for thread in threads:
            begin(thread)
        first.run()
        for thread in threads:
            thread.join()

    def sweep(self, limit: int | None = None) -> Swept:
        """Send what is due now, at most *limit* from each database.

        The others are swept although one fails; then its error is raised.
        """
        swept, errors = Swept(), []
        for sweeper in self.each:
            try:
                swept += sweeper.sweep(limit)
            except Exception as error:  # noqa: BLE001  (it is raised when all had their turn)
                errors.append(error)
        if errors:
            raise errors[0]
        return swept

    def close(self) -> None:
        """Close their connections. Sent schedules that cannot be marked stay claimed."""
        for sweeper in self.each:
            sweeper.close()
