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
from celery.concurrency.asynpool import AsynPool
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

from fullresult import FullResult
from tests.kit.workers import PATIENCE, SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

TASKS: list[tuple[str, Callable[..., Any], dict[str, Any]]] = []


def task(**options: Any) -> Callable[[F], F]:
    """Give every app of `make_app` the function as task `scenario.<its name>`.

    Raises ValueError for a name that is taken: one process may import all scenarios.
    """

    def register(function: F) -> F:
        name = f"scenario.{function.__name__}"
        if any(name == other for other, _, _ in TASKS):
            raise ValueError(f"two tasks are called {name!r}; rename {function.__module__}'s")
        TASKS.append((name, function, options))
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
    if not settings:
        return None
    # A pool looks for lost processes every 5 seconds; tests have no time for that.
    AsynPool.timers = property(lambda pool: {pool.maintain_pool: 0.2})
    return make_app(json.loads(settings), current=True)


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


# --- Retries


@task(bind=True, max_retries=3)
def retry(self: Task, times: int) -> int:
    """Ask for a retry *times* times."""
    if self.request.retries < times:
        raise self.retry(exc=ConnectionError(f"attempt {self.request.retries}"), countdown=0)
    return times


@task(bind=True, max_retries=1)
def retry_without_exception(self: Task) -> None:
    raise self.retry(countdown=0)


@task(bind=True, max_retries=1)
def retry_later(self: Task, seconds: float) -> str:
    if self.request.retries == 0:
        raise self.retry(countdown=seconds)
    return "later"


@task(
    bind=True,
    autoretry_for=(ConnectionError,),
    retry_backoff=True,
    retry_backoff_max=1,
    retry_kwargs={"max_retries": 2},
)
def autoretry(self: Task, times: int) -> int:
    if self.request.retries < times:
        raise ConnectionError(f"attempt {self.request.retries}")
    return times


@task(bind=True)
def retry_and_go_on(self: Task) -> str:
    if self.request.retries == 0:
        self.retry(throw=False, countdown=0)
    return f"attempt {self.request.retries}"


@task(bind=True)
def retry_with_what_cannot_be_sent(self: Task, _: Any = None) -> None:
    raise self.retry(args=(object(),), countdown=0)


# --- Ignore and Reject


@task(bind=True)
def ignore(self: Task, progress: str | None = None) -> None:
    if progress is not None:
        self.update_state(state=progress)
    raise Ignore


@task()
def reject() -> None:
    raise Reject("unwanted", requeue=False)


@task(acks_late=True)
def reject_late() -> None:
    raise Reject("unwanted", requeue=False)


@task()
def reject_and_requeue() -> None:
    raise Reject("not now", requeue=True)


@task(bind=True, acks_late=True)
def reject_and_requeue_late(self: Task) -> str:
    """Go back to the queue once."""
    if not self.request.delivery_info["redelivered"]:
        raise Reject("not now", requeue=True)
    return "redelivered"


# --- Lost processes and limits


@task()
def kill_child() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@task(acks_late=True)
def kill_child_late() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@task(bind=True, acks_late=True, reject_on_worker_lost=True)
def kill_child_and_requeue(self: Task) -> str:
    """Die at the first delivery only."""
    if not self.request.delivery_info["redelivered"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return "redelivered"


@task(bind=True, acks_late=True, retry_on_worker_lost=True, default_retry_delay=0)
def kill_child_and_retry(self: Task) -> str:
    """Die at the first attempt only."""
    if self.request.retries == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return "retried"


@task(bind=True)
def retry_then_kill_child(self: Task) -> None:
    if self.request.retries == 0:
        raise self.retry(countdown=0)
    os.kill(os.getpid(), signal.SIGKILL)


@task()
def exit_child(code: int) -> None:
    sys.exit(code)


@task()
def wait_for_but_stop_in_time(path: str) -> str:
    try:
        return _wait_for(path)
    except SoftTimeLimitExceeded:
        return "stopped in time"


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


@task(bind=True, acks_late=True)
def wait_for_each_late(self: Task, first: str, redelivered: str) -> str:
    return _wait_for(redelivered if self.request.delivery_info["redelivered"] else first)


@task(bind=True)
def retry_then_wait_for(self: Task, path: str) -> str:
    if self.request.retries == 0:
        raise self.retry(countdown=0)
    return _wait_for(path)


def _wait_for(path: str) -> str:
    deadline = time.monotonic() + PATIENCE
    while not Path(path).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(path)
        time.sleep(0.02)
    return "done"


app = app_of_worker()
