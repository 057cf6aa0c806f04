"""The tasks whose code may have made an error: those that run here, and the one that failed.

Celery tells the error of one task under the ids of others: those after it in a chain, and the body
of its chord.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from celery import _state
from celery.app.task import Context


class RunningTask(NamedTuple):
    """A task, as far as its arguments go."""

    name: str | None
    args: Any
    kwargs: Any


_failed: ContextVar[tuple[RunningTask, ...]] = ContextVar("fullresult_failed", default=())


@contextmanager
def failed(request: Context | None) -> Iterator[None]:
    """While this lasts, errors that are told may be of *request*'s task, whatever their id."""
    if request is None:
        yield
        return
    token = _failed.set((*_failed.get(), of(request)))
    try:
        yield
    finally:
        _failed.reset(token)


def of(request: Context) -> RunningTask:
    return RunningTask(getattr(request, "task", None), request.args, request.kwargs)


def running_tasks() -> list[RunningTask]:
    """Each task that is being run here, and each that is told to have failed."""
    found = [
        RunningTask(task.name, request.args, request.kwargs)
        for task in dict.fromkeys(_state._task_stack.stack)  # noqa: SLF001
        for request in task.request_stack.stack
    ]
    return [*found, *_failed.get()]
