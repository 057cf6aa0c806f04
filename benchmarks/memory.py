"""What many waiting tasks cost a worker: its memory, and the task without an ETA behind them."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.places import make_app, wait_for, worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from celery import Celery

    from benchmarks.places import Places

_LONGEST = 300
"""Seconds to wait for plain Celery to run the task behind."""


def run(places: Places, storage: str, broker: str, scale: float) -> Iterator[str]:
    tasks = max(int(100_000 * scale), 100)
    for ours in (True, False):
        if not ours and storage != "postgresql":
            continue  # plain Celery keeps nothing in a storage: once is enough
        with (
            places.storage(storage) as store,
            places.broker(broker) as url,
            TemporaryDirectory() as directory,
        ):
            report, chosen = f"{directory}/report", store if ours else None
            with worker(url, chosen, report) as pid:
                app = make_app(url, chosen)
                name = f"{storage}, {broker}" if ours else f"plain Celery, {broker}"
                yield f"{name}: {_behind(app, pid, report, tasks)}"


def _behind(app: Celery, pid: int, report: str, tasks: int) -> str:
    before = _memory(pid)
    app.send_task("tell", ["warm"])
    wait_for(report, "warm")
    for number in range(tasks):
        app.send_task("shop.pay", (number,), {"total": "12.50"}, countdown=36_000)
    sent = time.time()
    app.send_task("tell", ["behind"])
    try:
        waited = f"{wait_for(report, 'behind', _LONGEST) - sent:.2f} s"
    except TimeoutError:
        waited = f"more than {_LONGEST} s"
    grown = _memory(pid) - before
    return (
        f"{tasks:,} waiting: worker +{grown / 1024:,.0f} MB ({grown / tasks * 1024:,.0f} bytes a "
        f"task); the task behind them started after {waited}"
    )


def _memory(pid: int) -> float:
    """Kilobytes that are a process's own: its parent's and children's pages do not count twice."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = [line.split()[1] for line in text.splitlines() if line.startswith("Pss:")]
    return float(found[0])
