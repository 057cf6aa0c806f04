"""Tasks of all kinds as they were, and as four refactorings leave them, for the deploy guard."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from celery import Celery

KINDS = ("plain", "bound", "of_a_class", "wrapped", "pydantic")
PLACES = ("message", "scheduled", "link", "chain step", "chord body", "periodic entry")
REFACTORINGS = {
    # How the task takes arguments beside the first, and the name that it has.
    "as it was": ("currency='EUR', site=None", "shop.{}"),
    "renamed": ("currency='EUR', site=None", "shop.{}_now"),
    "a keyword removed": ("site=None", "shop.{}"),
    "a new argument": ("currency='EUR', site=None, *, tenant", "shop.{}"),
    "a queue moved": ("currency='EUR', site=None", "shop.{}"),
}
_HEAD = """
import functools
from typing import Any
from celery import Celery, Task
from fullresult import FullResult
from pydantic import BaseModel

app = Celery("shop", broker="memory://", set_as_current=False)

class Order(BaseModel):
    number: int

def logged(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)
    return wrapper
"""
_TASKS = {
    "plain": (
        "@app.task(shared=False, name={name!r})\ndef plain(first, {rest}):  # HERE plain\n    pass"
    ),
    "bound": (
        "@app.task(shared=False, bind=True, name={name!r})\n"
        "def bound(self, first, {rest}):  # HERE bound\n    pass"
    ),
    "of_a_class": (
        "class OfAClass(Task):\n    name = {name!r}\n"
        "    def run(self, first, {rest}):  # HERE of_a_class\n        pass\n"
        "app.register_task(OfAClass())"
    ),
    "wrapped": (
        "@app.task(shared=False, name={name!r})\n@logged\n"
        "def wrapped(first, {rest}):  # HERE wrapped\n    pass"
    ),
    "pydantic": (
        "@app.task(shared=False, name={name!r}, pydantic=True)\n"
        "def pydantic(first: Any, {rest}):  # HERE pydantic\n    pass"
    ),
}


def module_of(refactoring: str, directory: Path) -> Path:
    """A module whose tasks are as *refactoring* leaves them."""
    rest, name = REFACTORINGS[refactoring]
    tasks = [_TASKS[kind].format(name=name.format(kind), rest=rest) for kind in KINDS]
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "shop_tasks.py"
    path.write_text("\n\n".join([_HEAD, *tasks]) + "\n", encoding="utf-8")
    return path


def app_of(path: Path, **conf: Any) -> Celery:
    """The app of that module, as a new process would have it."""
    name = f"refactored_{abs(hash(path))}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    app: Celery = module.app
    app.conf.update(fullresult_schedule_eta=True, task_default_queue="old", **conf)
    from fullresult import FullResult

    FullResult(app)
    return app


def line_of(path: Path, kind: str) -> int:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if line.endswith(f"# HERE {kind}"))


def publish(app: Celery, kind: str, place: str) -> None:
    """Publish a task of *kind* in *place*; where it is not the message, another carries it."""
    wanted = app.signature(f"shop.{kind}", ("first",), {"currency": "USD"}, queue="old")
    follower = app.signature(f"shop.{kind}", (), {"currency": "USD"}, queue="old")
    carrier = app.signature("other.task", (), queue="old")
    if place == "message":
        wanted.apply_async()
    elif place == "scheduled":
        wanted.apply_async(countdown=3600)
    elif place == "link":
        carrier.apply_async(link=follower)
    elif place == "chain step":
        (carrier | follower).apply_async()
    elif place == "chord body":
        app.send_task("other.task", queue="old", chord={**follower, "chord_size": 1})


def plan(kind: str) -> dict[str, Any]:
    """Beat's entry of that task."""
    call = {"task": f"shop.{kind}", "args": ("first",), "kwargs": {"currency": "USD"}}
    return {kind: {**call, "schedule": 60, "options": {"queue": "old"}}}
