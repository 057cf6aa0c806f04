"""Tasks with odd results and errors, for `test_scenarios_messages.py`."""

from __future__ import annotations

import threading

from celery import Task

from tests.apps.scenario_app import app_of_worker, make_app, task

__all__ = ["app", "make_app"]


@task()
def no_json() -> object:
    return object()


@task(ignore_result=True)
def ignored(x: int) -> int:
    return x


@task(ignore_result=True)
def ignored_that_fails(message: str) -> None:
    raise ValueError(message)


class UnpicklableError(Exception):
    def __init__(self, text: str, lock: object) -> None:
        super().__init__(text, lock)
        self.text = text

    def __str__(self) -> str:
        return self.text


@task()
def unpicklable(text: str) -> None:
    raise UnpicklableError(text, threading.Lock())


@task()
def big(characters: int) -> str:
    return "x" * characters


@task(bind=True)
def run_number(self: Task, number: int) -> str:
    return f"{self.request.id} ran with {number}"


app = app_of_worker()
