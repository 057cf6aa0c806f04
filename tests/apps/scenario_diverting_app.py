"""Tasks that wait, or have other tasks wait, for the tests of diverting."""

from __future__ import annotations

import logging
import os
import signal
from typing import Any

from celery import Task, chord, group, signals

from tests.apps.scenario_app import app_of_worker, make_app, task
from tests.apps.scenario_canvas_app import tsum

__all__ = ["app", "make_app", "tsum"]

logger = logging.getLogger(__name__)


@task(bind=True)
def told(self: Task, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """What the message said to the worker, but for ids and dates."""
    request = self.request
    return {
        "args": args,
        "kwargs": kwargs,
        "priority": request.delivery_info["priority"],
        "routing_key": request.delivery_info["routing_key"],
        "timelimit": request.timelimit,
        "shadow": request.shadow,
        "stamps": request.stamps,
        "stamped_headers": request.stamped_headers,
        "headers": request.headers,
        "compression": vars(request).get("compression"),
        "ignore_result": request.ignore_result,
        "argsrepr": request.argsrepr,
        "eta": request.eta,
        "expires": bool(request.expires),
        "same_id": request.id == request.correlation_id,
    }


@task(bind=True, max_retries=3)
def retried_in(self: Task, seconds: float, times: int) -> int:
    """Ask for a retry *times* times."""
    if self.request.retries < times:
        error = ConnectionError(f"attempt {self.request.retries}")
        raise self.retry(exc=error, countdown=seconds)
    return times


@task(bind=True)
def retried_with(self: Task, x: int, seconds: float) -> int:
    """Ask for one retry, with other arguments and headers of its own."""
    if self.request.retries == 0:
        headers = {"tenant": "acme"}
        raise self.retry(args=(x + 1, seconds), countdown=seconds, headers=headers, priority=3)
    return x


@task(bind=True)
def replaced_in(self: Task, x: int, seconds: float) -> Any:
    raise self.replace(self.app.tasks["scenario.add"].s(x, 1).set(countdown=seconds))


@task(bind=True)
def replaced_by_group_in(self: Task, seconds: float) -> Any:
    adding = self.app.tasks["scenario.add"]
    raise self.replace(group(adding.s(n, n).set(countdown=seconds) for n in range(2)))


@task(bind=True)
def parent_of_waiting(self: Task, seconds: float) -> str:
    """Publish a task that waits."""
    return str(self.app.tasks["scenario.add"].apply_async((1, 2), countdown=seconds).id)


@task(bind=True)
def parent_of_waiting_chord(self: Task, seconds: float) -> str:
    adding = self.app.tasks["scenario.add"]
    header = [adding.s(n, n).set(countdown=seconds) for n in range(2)]
    return str(chord(header)(self.app.tasks["scenario.tsum"].s()).id)


@task(autoretry_for=(ConnectionError,), max_retries=2, retry_backoff=1, retry_jitter=False)
def autoretried() -> None:
    raise ConnectionError("again")


@task(autoretry_for=(ConnectionError,), max_retries=2, retry_kwargs={"countdown": 0})
def autoretried_at_once() -> None:
    raise ConnectionError("again")


@task(autoretry_for=(ConnectionError,), retry_kwargs={"countdown": 3600})
def autoretried_in_an_hour() -> None:
    raise ConnectionError("again")


@task(bind=True, acks_late=True, retry_on_worker_lost=True, default_retry_delay=3600)
def killed_and_retried_later(self: Task) -> str:
    if self.request.retries == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return "retried"


def tell_eta(request: Any, **_: Any) -> None:
    """Log what a worker is to hold until later: Celery does not say."""
    if request.eta:
        logger.info("held with eta: %s[%s]", request.name, request.id)


app = app_of_worker()
if app is not None:
    signals.task_received.connect(tell_eta)
