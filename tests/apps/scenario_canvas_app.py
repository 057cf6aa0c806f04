"""Tasks that publish, replace or follow other tasks, for `test_scenarios_canvas.py`."""

from __future__ import annotations

from typing import Any

from celery import Task, group

from tests.apps.scenario_app import add, app_of_worker, make_app, task

__all__ = ["app", "make_app"]


@task()
def tsum(numbers: list[int]) -> int:
    return sum(numbers)


@task()
def not_json() -> object:
    return object()


@task(bind=True)
def retried_add(self: Task, x: int, y: int) -> int:
    """Succeed at the second attempt."""
    if not self.request.retries:
        raise self.retry(exc=ValueError("not yet"), countdown=0)
    return x + y


@task(bind=True)
def parent(self: Task, children: int) -> list[str]:
    """Publish so many tasks and a group of two."""
    adding = self.app.tasks["scenario.add"]
    single = [adding.delay(n, n).id for n in range(children)]
    grouped = group(adding.s(n, 1) for n in range(2)).apply_async()
    return [*single, *(result.id for result in grouped.results)]


@task(bind=True)
def parent_that_fails(self: Task) -> None:
    self.app.tasks["scenario.add"].delay(1, 1)
    raise ValueError("after publishing")


@task(bind=True)
def replaced(self: Task, x: int) -> Any:
    raise self.replace(self.app.tasks["scenario.add"].s(x, 1))


@task(bind=True)
def replaced_twice(self: Task, x: int) -> Any:
    raise self.replace(self.app.tasks["scenario.replaced"].s(x))


@task(bind=True)
def replaced_by_retried(self: Task, x: int) -> Any:
    raise self.replace(self.app.tasks["scenario.retried_add"].s(x, 1))


@task(bind=True)
def replaced_by_failing(self: Task) -> Any:
    raise self.replace(self.app.tasks["scenario.fail"].s("the replacement"))


@task(bind=True)
def replaced_by_group(self: Task, size: int) -> Any:
    adding = self.app.tasks["scenario.add"]
    raise self.replace(group(adding.s(n, n) for n in range(size)))


@task(bind=True)
def chord_member_that_adds(self: Task, x: int) -> int:
    """Put another member into the chord that this one is of."""
    self.add_to_chord(self.app.tasks["scenario.add"].s(100, x))
    return x


@task()
def errback_inline(request: Any, exc: Any, traceback: Any) -> None:
    """What Celery calls at once, in the process that saw the failure."""


@task()
def errback_published(failed_id: str) -> str:
    """What Celery publishes: it takes one argument."""
    return failed_id


@task(bind=True)
def errback_bound(self: Task, request: Any, exc: Any, traceback: Any) -> None:
    """What Celery takes for one of the other kind, and fails to publish."""


app = app_of_worker()
del add
