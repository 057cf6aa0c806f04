"""Tasks that publish into an outbox, and then ask for a retry or a replacement."""

from __future__ import annotations

from typing import Any

import psycopg
from celery import Task

from tests.apps.scenario_app import app_of_worker, make_app, task

__all__ = ["app", "make_app"]


@task(bind=True)
def order(self: Task, how: str, where: str) -> str:
    """Publish a child in a transaction; go on once as *how* says, *inside* the block or *after*."""
    full, tries = self.app.fullresult, self.request.retries
    with psycopg.connect(full.settings.storage) as connection, full.outbox(connection):
        connection.execute("INSERT INTO orders VALUES (%s)", [f"{self.request.id} {tries}"])
        self.app.send_task("scenario.add", (tries, 0), task_id=f"{self.request.id} {tries}")
        if where == "inside" and not tries:
            go_on(self, how)
    if where == "after" and not tries:
        go_on(self, how)
    return "ordered"


def go_on(task: Task, how: str) -> Any:
    if how == "retry":
        raise task.retry(countdown=0)
    raise task.replace(task.app.tasks["scenario.add"].s(2, 2))


app = app_of_worker()
