"""What scheduling a task costs its publisher, beside a recorded plain publish to Redis."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.places import make_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from benchmarks.places import Places

_ROUNDS = 30
_MOST = {"postgresql": 1.5, "sqlite": 1.0}


def run(places: Places, storage: str, broker: str, scale: float) -> Iterator[str]:
    tasks = max(int(100 * scale), 10)
    with places.storage(storage) as store, places.broker(broker) as url:
        app = make_app(url, store)
        plain, scheduled, ratios = [], [], []
        for number in range(_ROUNDS + 1):
            order = (None, 3600) if number % 2 else (3600, None)
            times = {countdown: _publish(app, tasks, countdown) for countdown in order}
            if number:  # the first round connects
                plain.append(times[None])
                scheduled.append(times[3600])
                ratios.append(times[3600] / times[None])
        app.fullresult.close()
    yield (
        f"{storage}: {median(plain):.3f} ms a recorded publish to {broker}, "
        f"{median(scheduled):.3f} ms scheduled: {median(ratios):.2f} times"
        f"{_promised(storage)}"
    )


def _promised(storage: str) -> str:
    return f" (at most {_MOST[storage]})" if storage in _MOST else ""


def _publish(app: Celery, tasks: int, countdown: float | None) -> float:
    start = time.perf_counter()
    for number in range(tasks):
        app.send_task(
            "shop.pay",
            (number, f"customer{number}@example.org"),
            {"total": "12.50", "currency": "EUR"},
            countdown=countdown,
        )
    return (time.perf_counter() - start) * 1000 / tasks
