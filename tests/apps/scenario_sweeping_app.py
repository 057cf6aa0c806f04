"""Tasks of workers whose sweeper is put to the test."""

from __future__ import annotations

from celery import Task

from tests.apps.scenario_app import app_of_worker, make_app, task

__all__ = ["app", "make_app"]


@task(bind=True, max_retries=None)
def retry_soon(self: Task) -> int:
    """Ask twice for another attempt, at once."""
    if self.request.retries < 2:
        raise self.retry(countdown=0.01)
    return int(self.request.retries)


@task()
def nothing(number: int) -> int:
    return number


app = app_of_worker()
