"""Tasks that speak for another id, for `test_new_ids.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from celery import Task, chain
from celery.exceptions import Ignore

from tests.apps.scenario_app import app_of_worker, make_app, task
from tests.apps.scenario_canvas_app import errback_published, replaced_by_group, tsum

__all__ = ["app", "errback_published", "make_app", "replaced_by_group", "tsum"]


@task(bind=True, max_retries=3)
def retry_with_headers(self: Task, times: int) -> int:
    """Retry with headers of its own, which replace those of the first message."""
    if self.request.retries < times:
        raise self.retry(countdown=0, headers={"mine": "yes"})
    return times


@task(bind=True)
def replaced_by_chain(self: Task, x: int) -> Any:
    adding = self.app.tasks["scenario.add"]
    raise self.replace(chain(adding.s(x, 1), adding.s(1)))


@task()
def note(value: object, path: str) -> None:
    with Path(path).open("a") as file:
        file.write(f"{value}\n")


@task(bind=True)
def store_and_ignore(self: Task) -> None:
    self.update_state(state="SUCCESS", meta="stored")
    raise Ignore


@task(bind=True)
def hand_headers_on(self: Task) -> str:
    adding = self.app.tasks["scenario.add"]
    return str(adding.apply_async((1, 2), headers=self.request.headers).id)


@task()
def add_times(times: int) -> int:
    return 2 * times


app = app_of_worker()
