"""The tasks that an error may come from: those that run here, and the one that failed.

Celery gives the error of one task to others too: to those after it in a chain, and to the body of
its chord.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from celery import _state
from celery.app.task import Context

from fullresult.recording.requests import arguments_of, name_of


class RunningTask(NamedTuple):
    """The name and the arguments of a task."""

    name: str | None
    args: Any
    kwargs: Any


_failed: ContextVar[tuple[RunningTask, ...]] = ContextVar("fullresult_failed", default=())


@contextmanager
def failed(request: Context | None) -> Iterator[None]:
    """Inside, an error under any id may be that of the task of *request*."""
    if request is None:
        yield
        return
    token = _failed.set((*_failed.get(), of(request)))
    try:
        yield
    finally:
        _failed.reset(token)


def of(request: Context) -> RunningTask:
    return RunningTask(name_of(request), *arguments_of(request))


def request_of(task_id: str) -> Context | None:
    """The request of the task of this id, if this thread runs it."""
    for task in _state._task_stack.stack:  # noqa: SLF001
        for request in task.request_stack.stack:
            if request.id == task_id:
                return request
    return None


def running_tasks() -> list[RunningTask]:
    """Each task that runs here, and each that Celery is reporting as failed."""
    found = [
        RunningTask(task.name, request.args, request.kwargs)
        for task in dict.fromkeys(_state._task_stack.stack)  # noqa: SLF001
        for request in task.request_stack.stack
    ]
    return [*found, *_failed.get()]
