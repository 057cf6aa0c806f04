"""The tasks that workers run in tests, and the app that has them.

A worker takes its Celery settings from the environment; tests call `make_app` with theirs.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from celery import Celery, Task, signals
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

from fullresult import FullResult
from tests.workers import PATIENCE, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

TASKS: list[tuple[str, Callable[..., Any], dict[str, Any]]] = []


def task(**options: Any) -> Callable[[F], F]:
    """Give every app of `make_app` the function as task `scenario.<its name>`."""

    def register(function: F) -> F:
        TASKS.append((f"scenario.{function.__name__}", function, options))
        return function

    return register


def make_app(settings: dict[str, Any], *, current: bool = False) -> Celery:
    """An app with all tasks and `FullResult`; *current* makes it Celery's current app."""
    app = Celery("scenario", set_as_current=current)
    app.conf.update(settings)
    for name, function, options in TASKS:
        app.task(name=name, **options)(function)
    FullResult(app)
    return app


def app_of_worker() -> Celery | None:
    """The app where this process is a worker; None in the tests' own process."""
    settings = os.environ.get(SETTINGS)
    return make_app(json.loads(settings), current=True) if settings else None


# --- Success and failure


@task()
def add(x: int, y: int) -> int:
    return x + y


@task()
def fail(message: str) -> None:
    raise ValueError(message)


class NoisyTask(Task):  # type: ignore[misc]
    """Each hook raises where the task's first argument names it."""

    abstract = True

    def _raise(self, hook: str, args: tuple[Any, ...]) -> None:
        if args and args[0] == hook:
            raise RuntimeError(f"{hook} raised")

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:  # noqa: ARG002
        self._raise("before_start", args)

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:  # noqa: ARG002
        self._raise("on_success", args)

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:  # noqa: ARG002
        self._raise("on_failure", args)

    def after_return(self, status: Any, retval: Any, task_id: str, args: Any, *_: Any) -> None:  # noqa: ARG002
        self._raise("after_return", args)


@task(base=NoisyTask)
def with_hooks(hook: str) -> str:
    """Raise in *hook*; in `on_failure` after the body has failed."""
    if hook == "on_failure":
        raise ValueError("the body failed")
    return hook


@task(bind=True)
def die_after_success(self: Task, value: int) -> int:
    """Have this process killed once the result is stored and everyone has been told."""

    def die(task_id: str, **_: Any) -> None:
        if task_id == own_id:
            os.kill(os.getpid(), signal.SIGKILL)

    own_id = self.request.id
    signals.task_postrun.connect(die, weak=False)
    return value


# --- Waiting: tasks that tests end


@task()
def wait_for(path: str) -> str:
    """Run until the file *path* exists."""
    return _wait_for(path)


@task(acks_late=True)
def wait_for_late(path: str) -> str:
    return _wait_for(path)


@task()
def wait_for_then_fail(path: str) -> None:
    _wait_for(path)
    raise ValueError("the body failed")


def _wait_for(path: str) -> str:
    deadline = time.monotonic() + PATIENCE
    while not Path(path).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(path)
        time.sleep(0.02)
    return "done"


app = app_of_worker()
