"""Questions to the storage that 1, 16 and 48 sweepers ask: idle, and for each scheduled task.

    python -m benchmarks.sweepers postgresql://user@host/database [SECONDS [NUMBER...]]

Each question is one transaction. The broker is in memory; the database should be an empty one.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections import Counter
from contextlib import closing
from typing import Any

from celery import Celery

from fullresult import FullResult

_TASKS = 40
_APART = 0.2
_WARM = 8.0
"""Seconds until the sweepers have found their leases."""


class Counted:
    """A storage whose calls are counted."""

    def __init__(self, storage: Any, calls: Counter[str]) -> None:
        self._storage = storage
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._storage, name)

        def call(*given: Any, **options: Any) -> Any:
            self._calls[name] += 1
            return method(*given, **options)

        return call


def measure(url: str, sweepers: int, seconds: float) -> tuple[float, float]:
    """Questions a second while nothing is due, and questions a scheduled task."""
    app = Celery("sweepers", set_as_current=False)
    app.conf.update(
        broker_url="memory://",
        fullresult_storage=url,
        fullresult_schedule_eta=True,
        fullresult_namespace=f"sweepers {sweepers} {time.time()}",
    )
    with closing(FullResult(app)) as full:
        full.setup()
        calls: Counter[str] = Counter()
        running = [full.parts.new_sweeper() for _ in range(sweepers)]
        for sweeper in running:
            counted = Counted(full.storage, calls)
            sweeper._storage = sweeper._upkeep._storage = counted  # type: ignore[assignment]  # noqa: SLF001
            if hasattr(sweeper, "_lease"):
                sweeper._lease._storage = counted  # type: ignore[assignment]  # noqa: SLF001
            sweeper.start()
        try:
            time.sleep(_WARM)
            idle = _asked(calls, seconds)
            before = calls.total()
            began = time.monotonic()
            for place in range(_TASKS):
                app.send_task("task", countdown=1 + place * _APART)
            while sum(sweeper.swept.sent for sweeper in running) < _TASKS:
                time.sleep(0.05)
            # What the sweepers ask anyway is not the tasks'.
            own = calls.total() - before - idle * (time.monotonic() - began)
        finally:
            for sweeper in running:
                sweeper.stop()
            for sweeper in running:
                sweeper.join(10)
    return idle, (own + idle * _TASKS * _APART) / _TASKS


def _asked(calls: Counter[str], seconds: float) -> float:
    before = calls.total()
    time.sleep(seconds)
    return (calls.total() - before) / seconds


def main(url: str, seconds: str = "20", *numbers: str) -> None:
    """Print a line for each number of sweepers."""
    for sweepers in map(int, numbers or ("1", "16", "48")):
        idle, each = measure(url, sweepers, float(seconds))
        print(f"{sweepers:3} sweepers: {idle:6.1f} questions/s idle, {each:6.1f} a task")


if __name__ == "__main__":
    main(*itertools.islice(sys.argv, 1, None))
