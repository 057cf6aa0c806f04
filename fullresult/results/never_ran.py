"""Tasks that never run because another one failed: Celery gives them its error as their result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from celery.app.task import Context

from fullresult.record import NOT_RUN, encoding
from fullresult.results.signatures import ends
from fullresult.storage import ResultStorage, StorageError


class Stop(NamedTuple):
    """What keeps other tasks from being published."""

    task_id: str | None
    """The task that failed; None if it is some member of a chord."""
    names: Mapping[str, str]
    """The names of tasks that are kept from it, by id, as far as they are not told otherwise."""


# Celery calls the backend again, for the others, inside its call for the task that failed.
_stop: ContextVar[Stop | None] = ContextVar("fullresult_stop", default=None)


@contextmanager
def after(task_id: str, request: Context | None) -> Iterator[None]:
    """Inside, any other task that fails never ran, if *request* is that of the task *task_id*."""
    if request is None or request.id != task_id:
        yield
        return
    with _inside(Stop(task_id, {})):
        yield


@contextmanager
def body_of_chord(callback: Any) -> Iterator[None]:
    """Inside, the tasks of *callback*, the body of a chord that failed, never ran."""
    known = _stop.get()
    names = {
        str(end["options"]["task_id"]): str(end["task"])
        for end in ends(callback)
        if end.get("options", {}).get("task_id") and end.get("task")
    }
    with _inside(Stop(known.task_id if known else None, names)):
        yield


@contextmanager
def _inside(stop: Stop) -> Iterator[None]:
    token = _stop.set(stop)
    try:
        yield
    finally:
        _stop.reset(token)


def why(task_id: str, results: ResultStorage) -> str | None:
    """Why the task *task_id*, which is said to have failed, never ran; None if it did run.

    A task that replaced itself did: what takes its place ends under its id.
    """
    stop = _stop.get()
    if stop is None or stop.task_id == task_id or _was_published(task_id, results):
        return None
    if stop.task_id is None:
        return "never published: a member of its chord failed"
    return f"never published: task {encoding.key(stop.task_id)} failed"


def _was_published(task_id: str, results: ResultStorage) -> bool:
    """True too if the storage does not answer: a failure ends it in any case."""
    try:
        found = results.get_results([encoding.key(task_id)])
    except StorageError:
        return True
    return any(record.state != NOT_RUN for record in found)


def request_of(task_id: str, request: Context | None) -> Context | None:
    """*request*, or one with all that is known of a task that never ran: its name."""
    stop = _stop.get()
    if request is not None or stop is None or task_id not in stop.names:
        return request
    return Context({"id": task_id, "task": stop.names[task_id], "args": (), "kwargs": {}})
