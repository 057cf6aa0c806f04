"""Tasks for the tests of result backends in real workers."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery import Task, chain, chord, group
from celery.result import allow_join_result

from tests.apps.scenario_app import add, app_of_worker, make_app, task
from tests.kit.workers import PATIENCE

if TYPE_CHECKING:
    from celery import Signature

__all__ = ["app", "make_app"]


def signature(task: Task, name: str, *args: Any) -> Signature:
    return task.app.tasks[f"scenario.{name}"].s(*args)


@task()
def tell(value: Any) -> Any:
    return value


@task()
def double(n: int) -> int:
    return n * 2


@task()
def total(numbers: Any) -> int:
    """The sum of however nested lists."""
    return sum(map(total, numbers)) if isinstance(numbers, list) else numbers


@task()
def listed(value: Any) -> list[Any]:
    return [value]


@task()
def spoil(value: Any) -> Any:
    """Fail, whatever came before."""
    raise ValueError(f"spoilt {value}")


@task()
def pass_if_open(value: Any, gate: str) -> Any:
    """Fail as long as there is no file *gate*."""
    if not Path(gate).exists():
        raise ValueError("shut")
    return value


class OrderError(Exception):
    """An application's own."""

    def __init__(self, order: int, reason: str) -> None:
        super().__init__(order, reason)


@task()
def fail_with_own() -> None:
    raise OrderError(7, "sold out")


@task()
def not_encodable() -> object:
    return object()


@task(bind=True)
def progress(self: Task, steps: int, go: str) -> str:
    """Tell each step and wait for the file *go* with that number."""
    for step in range(steps):
        self.update_state(state="PROGRESS", meta={"step": step})
        _wait(Path(f"{go}.{step}"))
    return "done"


@task(bind=True, max_retries=1)
def retry_when_told(self: Task, go: str) -> str:
    """Ask for a retry that waits for a second; the next attempt waits for the file *go*."""
    if not self.request.retries:
        raise self.retry(exc=ConnectionError("again"), countdown=1)
    _wait(Path(go))
    return "retried"


@task(time_limit=1)
def exceed() -> None:
    time.sleep(PATIENCE)


@task()
def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@task(acks_late=True, reject_on_worker_lost=True)
def die_once(mark: str) -> str:
    """Be killed at the first delivery, after which it is delivered again."""
    path = Path(mark)
    if not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "lived"


@task(bind=True)
def wait_inside(self: Task, count: int) -> int:
    """Wait for tasks that it published: unwise, and allowed."""
    tasks = group(signature(self, "double", n) for n in range(count))
    with allow_join_result():
        return sum(tasks.apply_async().get(timeout=PATIENCE))


@task(bind=True)
def wait_inside_forbidden(self: Task) -> Any:
    return signature(self, "double", 1).apply_async().get(timeout=PATIENCE)


@task(bind=True)
def publish(self: Task, count: int) -> int:
    """Publish children that each publish one."""
    for n in range(count):
        signature(self, "publish" if count > 1 else "tell", 1 if count > 1 else n).apply_async()
    return count


@task(ignore_result=True)
def ignored_result() -> int:
    return 1


@task(ignore_result=True)
def ignored_failure() -> None:
    raise ValueError("ignored")


@task(ignore_result=True, store_errors_even_if_ignored=True)
def ignored_failure_stored() -> None:
    raise ValueError("stored all the same")


@task(bind=True)
def tell_call(self: Task, *args: Any, **kwargs: Any) -> Any:
    return [list(args), kwargs, self.request.id]


@task(bind=True)
def replace_with(self: Task, how: str, n: int) -> Any:
    """Replace itself with a task, a chain, a group, a chord, or one that fails."""
    double, total, spoil = (signature(self, name) for name in ("double", "total", "spoil"))
    members = [signature(self, "double", n + i) for i in range(3)]
    raise self.replace(
        {
            "task": lambda: signature(self, "double", n),
            "chain": lambda: chain(signature(self, "double", n), double, double),
            "group": lambda: group(members),
            "chord": lambda: chord(members, total),
            "chord of chords": lambda: chord([chord(members, total), members[0]], total),
            "replaced": lambda: signature(self, "replace_with", "task", n),
            "failing": lambda: signature(self, "spoil", n),
            "failing chord": lambda: chord([*members, signature(self, "spoil", n)], total),
            "failing chain": lambda: chain(signature(self, "double", n), spoil, double),
        }[how]()
    )


@task(bind=True)
def replace_in_chain(self: Task, n: int, how: str) -> Any:
    """`replace_with` by the result of the task before."""
    raise self.replace(signature(self, "replace_with", how, n))


@task(bind=True)
def add_to_chord(self: Task, n: int) -> int:
    self.add_to_chord(signature(self, "double", n))
    return n


@task(bind=True)
def add_chord_to_chord(self: Task, n: int) -> int:
    """Add one of two members, whose body counts."""
    header = [signature(self, "tell", n), signature(self, "tell", n)]
    self.add_to_chord(chord(header, signature(self, "total")))
    return n


@task()
def leave_note(path: str, text: str) -> None:
    """Leave a trace; the way to see that something ran, and how often."""
    with Path(path).open("a") as file:
        file.write(f"{text}\n")


@task()
def note_result(value: Any, path: str, text: str) -> Any:
    """Leave *text*, and give *value* back."""
    leave_note(path, text)
    return value


@task()
def double_when_there(n: int, path: str) -> int:
    _wait(Path(path))
    return n * 2


@task()
def note_value(value: Any, path: str) -> Any:
    with Path(path).open("a") as file:
        file.write(f"{value}\n")
    return value


@task()
def note_error(request: Any, exc: Any, traceback: Any, path: str) -> None:  # noqa: ARG001
    """An errback that Celery calls at once."""
    with Path(path).open("a") as file:
        file.write(f"{type(exc).__name__}\n")


def _wait(path: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody made {path}")
        time.sleep(0.02)


app = app_of_worker()
del add
