"""Running a recorded call here: in this process, by hand, without a trace of it as a task."""

from __future__ import annotations

import inspect
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from celery import Celery, Task
from celery._state import pop_current_task, push_current_task
from celery.backends.base import DisabledBackend

from fullresult.actions.audit import Trail
from fullresult.actions.recorded_call import CannotRepro, RecordedCall
from fullresult.recording import this_worker
from fullresult.recording.rehearsal import KeptBack, Rehearsals
from fullresult.storage import StorageError

_OTHERS = ("callbacks", "errbacks", "chain", "chord", "group", "group_index", "reply_to")
"""What follows a task is its worker's to send: here nothing follows."""


@dataclass(frozen=True)
class Repro:
    """What a call that was made again returned, and what it would have published."""

    result: Any
    kept_back: list[KeptBack] = field(default_factory=list)


def run(
    app: Celery,
    rehearsals: Rehearsals,
    call: RecordedCall,
    *,
    publish: bool = False,
    kept_back: list[KeptBack] | None = None,
    debug: Callable[[Exception], object] | None = None,
) -> Repro:
    """Make *call* in this process. Raises what the task raises, and `CannotRepro` before it began.

    Nothing of it is recorded or stored as a result. What it publishes is noted in *kept_back*
    instead of sent, unless it is to *publish*. *debug* gets what it raises while that still holds.
    """
    if this_worker.is_worker():
        raise CannotRepro("this process is a worker, whose other tasks are to be recorded and sent")
    if not publish and threading.current_thread() is not threading.main_thread():
        # A server's next request has a thread that is as new as those that the task begins.
        raise CannotRepro(
            "this is not the main thread: what other threads publish meanwhile would be kept back "
            "too, and lost; call it in a process of its own, or with publish=True"
        )
    task = _task(app, call)
    kept_back = [] if kept_back is None else kept_back
    with nullcontext() if publish else rehearsals.begin() as rehearsal:
        if rehearsal is not None:
            rehearsal.kept_back = kept_back
        with _as_worker_would(task, call):
            try:
                return Repro(_function(task)(*call.args, **call.kwargs), kept_back)
            except Exception as error:
                if debug is not None:
                    debug(error)
                raise


def run_for(
    trail: Trail, app: Celery, rehearsals: Rehearsals, call: RecordedCall, **how: Any
) -> Repro:
    """As `run`, with an entry in the audit log."""
    try:
        done = run(app, rehearsals, call, **how)
    except (CannotRepro, StorageError):
        raise
    except BaseException as error:
        trail.write_problem([call.task_id], error)
        raise
    trail.write([call.task_id], {})
    return done


def _task(app: Celery, call: RecordedCall) -> Task:
    app.finalize(auto=True)
    app.loader.import_default_modules()
    task = app.tasks.get(call.name)
    if task is None:
        raise CannotRepro(f"task {call.task_id}: this app has no task called {call.name!r}")
    try:
        inspect.signature(task.run).bind(*call.args, **call.kwargs)
    except TypeError as error:
        raise CannotRepro(
            f"task {call.task_id}: {call.name} does not take the recorded arguments: {error}"
        ) from None
    return task


def _function(task: Task) -> Any:
    # As Celery's worker does.
    return task if type(task).__call__ is not Task.__call__ else task.run


@contextmanager
def _as_worker_would(task: Task, call: RecordedCall) -> Iterator[None]:
    """The request and the current task that the call finds; no result backend."""
    request = {
        **call.headers,
        **dict.fromkeys(_OTHERS),
        "id": call.task_id,
        "task": call.name,
        "args": call.args,
        "kwargs": call.kwargs,
        "retries": call.retries,
        "hostname": f"repro@{socket.gethostname()}",
        # A retry raises its cause, as in a function that is called.
        "called_directly": True,
    }
    backend = task._backend  # noqa: SLF001  (None means the app's, which the property hides)
    # `update_state` would write into the result of the task that ran.
    task.backend = DisabledBackend(task.app)
    push_current_task(task)
    task.push_request(request)
    try:
        yield
    finally:
        task.pop_request()
        pop_current_task()
        task.backend = backend
