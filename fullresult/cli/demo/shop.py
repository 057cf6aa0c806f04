"""A shop's recorded Celery app: copy, change and run it as you like.

The broker is a folder and the storage is a file, both beside this one.
"""
# mypy: allow-untyped-decorators

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from celery import Celery, Task

from fullresult import FullResult

HERE = Path(__file__).resolve().parent
BANK_IS_CLOSED = HERE / "bank-is-closed"

app = Celery("shop", broker="filesystem://")
app.conf.update(
    broker_transport="fullresult.cli.demo.broker.Transport",
    broker_transport_options={
        "data_folder_in": str(HERE / "broker"),
        "data_folder_out": str(HERE / "broker"),
        "control_folder": str(HERE / "broker-control"),
        "polling_interval": 0.1,
    },
    broker_connection_retry_on_startup=True,
    # Celery waits ten seconds before it says that a process was lost.
    worker_lost_wait=1.0,
    fullresult_storage=f"sqlite:///{HERE / 'fullresult.db'}",
    # What is to run later waits in the storage: retries, too.
    fullresult_schedule_eta=True,
    # A worker that was killed is missed after 2.5 s, and not after 25 s.
    fullresult_heartbeat="1s",
)
FullResult(app)


class BankClosedError(Exception):
    pass


@app.task
def receipt(order: int, *, to: str) -> dict[str, Any]:
    """Succeeds."""
    return {"order": order, "sent_to": to, "pages": 2}


@app.task
def charge(order: int, *, amount: str, card: str) -> dict[str, Any]:
    """Fails while the bank is closed."""
    if BANK_IS_CLOSED.exists():
        raise BankClosedError(f"the bank is closed: cannot charge {amount} for order {order}")
    return {"order": order, "charged": amount, "card": card}


@app.task(bind=True, default_retry_delay=0.2)
def parcel(self: Task, order: int) -> str:
    """Succeeds at its third attempt."""
    if self.request.retries < 2:  # noqa: PLR2004
        raise self.retry(exc=TimeoutError("the carrier does not answer"))
    return f"PARCEL-{order}"


@app.task
def report(month: str, *, seconds: float) -> dict[str, Any]:
    """Runs long."""
    time.sleep(seconds)
    return {"month": month, "orders": 1234}


@app.task
def photo(name: str) -> str:
    """Its process is killed, as the kernel does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)
    return name


@app.task
def stocktaking(*, minutes: float) -> None:
    """Runs for longer than its worker lives."""
    time.sleep(minutes * 60)
