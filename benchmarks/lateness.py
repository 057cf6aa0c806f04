"""How late a task leaves the storage and starts in a worker, beside plain Celery holding it."""

from __future__ import annotations

import random
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.places import make_app, worker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.places import Places

_SPREAD = 0.05
"""Seconds between two tasks, on average: the sweeper is mostly idle."""


def run(places: Places, storage: str, broker: str, scale: float) -> Iterator[str]:
    tasks = max(int(400 * scale), 20)
    for ours in (True, False):
        if not ours and storage != "postgresql":
            continue  # plain Celery keeps nothing in a storage: once is enough
        with (
            places.storage(storage) as store,
            places.broker(broker) as url,
            TemporaryDirectory() as directory,
        ):
            report = f"{directory}/report"
            chosen = store if ours else None
            with worker(url, chosen, report):
                app = make_app(url, chosen)
                ids = _schedule(app, tasks)
                started = _started(report, tasks)
                if ours:
                    time.sleep(0.5)
                    records = [app.fullresult.get(task_id) for task_id in ids]
                    left = [(r.date_published - r.eta).total_seconds() * 1000 for r in records]
                    yield f"{storage}, {broker}: left {_figures(left)}; started {_figures(started)}"
                    app.fullresult.close()
                else:
                    yield f"plain Celery, {broker}: started {_figures(started)}"


def _schedule(app: object, tasks: int) -> list[str]:
    dice = random.Random(7)
    begin = datetime.now(timezone.utc) + timedelta(seconds=2 + tasks * 0.001)
    ids = []
    for _ in range(tasks):
        eta = begin + timedelta(seconds=dice.uniform(0, tasks * _SPREAD))
        eta = eta.replace(microsecond=eta.microsecond // 1000 * 1000)
        ids.append(app.send_task("late", (eta.isoformat(),), eta=eta).id)  # type: ignore[attr-defined]
    return ids


def _started(report: str, tasks: int) -> list[float]:
    """Milliseconds after its ETA, of every task."""
    deadline = time.monotonic() + tasks * _SPREAD + 60
    while time.monotonic() < deadline:
        lines = [line for line in Path(report).read_text().splitlines() if line[:5] == "late:"]
        if len(lines) == tasks:
            return [float(line.split()[0][5:]) * 1000 for line in lines]
        time.sleep(0.1)
    raise TimeoutError(f"of {tasks} tasks {len(lines)} started")


def _figures(values: Sequence[float]) -> str:
    ordered = sorted(values)
    middle, high = (
        ordered[len(ordered) // 2],
        ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)],
    )
    return f"{middle:.1f} ms late (p50), {high:.1f} (p99), {ordered[-1]:.1f} (worst)"
