"""The app of the workers whose waiting tasks are measured; without a store it is plain Celery."""

import os
import time
from datetime import datetime
from pathlib import Path

from benchmarks.places import make_app

app = make_app(os.environ["BENCHMARK_BROKER"], os.environ.get("BENCHMARK_STORE"), sweeper="worker")


@app.task(name="tell")  # type: ignore[untyped-decorator]
def tell(word: str) -> None:
    """Write *word* and the time of day to the report."""
    with Path(os.environ["BENCHMARK_REPORT"]).open("a") as report:
        report.write(f"{word} {time.time()}\n")


@app.task(name="late")  # type: ignore[untyped-decorator]
def late(eta: str) -> None:
    """Write how late it started."""
    tell(f"late:{time.time() - datetime.fromisoformat(eta).timestamp()}")


@app.task(name="shop.pay")  # type: ignore[untyped-decorator]
def pay(order: int, total: str) -> None:
    """What waits: it is never due. A worker throws away what it does not know."""
