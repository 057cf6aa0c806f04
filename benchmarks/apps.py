"""The Celery app under measurement: one contender, named by the environment."""

import os
from pathlib import Path
from typing import Any

from celery import Celery

from benchmarks.contenders import chosen
from benchmarks.meter import Reading

app = Celery("benchmark", broker=os.environ["BENCHMARK_BROKER"])
app.conf.broker_connection_retry_on_startup = True
chosen().install(app, os.environ["BENCHMARK_STORE"])


@app.task(name="shop.pay")  # type: ignore[untyped-decorator]
def pay(order_id: int, email: str, *, total: str, currency: str) -> dict[str, Any]:
    """Do nothing much; some 60 bytes of arguments, 80 of result."""
    return {"order_id": order_id, "receipt_to": email, "paid": total, "currency": currency}


@app.task(name="benchmark.mark")  # type: ignore[untyped-decorator]
def mark() -> None:
    """Mark a moment in the worker's queue; runs in its only child."""
    reading = Reading.now(os.getppid())
    with Path(os.environ["BENCHMARK_MARKS"]).open("a") as marks:
        marks.write(reading.to_json() + "\n")
