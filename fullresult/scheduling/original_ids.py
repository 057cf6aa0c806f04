"""The original ids of tasks that go on under a new one.

The result backend is given the outcome of such a task under both ids, so that `AsyncResult.get`
returns for the caller, who knows only the first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakValueDictionary

from celery import Celery, Task, current_task, states
from celery.app.task import Context
from celery.exceptions import NotRegistered, TaskRevokedError
from celery.worker.request import Request

from fullresult.record.headers import ORIGINAL_ID

logger = logging.getLogger(__name__)

UNLOCK = "celery.chord_unlock"


class OriginalIds:
    """The requests of one app's worker whose tasks go on under a new id."""

    def __init__(self) -> None:
        self._received: WeakValueDictionary[str, Request] = WeakValueDictionary()

    def received(self, request: Request) -> None:
        """The main process has a message. A signal of its end may have nothing but the id."""
        if ORIGINAL_ID in request.request_dict:
            self._received[request.id] = request

    def request(self, task: Task, task_id: str) -> Context:
        """The request of a task that ended in this process, or in a lost one."""
        known: Context = task.request
        if known.id != task_id and (request := self._received.get(task_id)) is not None:
            known = Context(request.request_dict)
        return known


def _of(app: Celery) -> OriginalIds | None:
    parts = getattr(getattr(app, "fullresult", None), "parts", None)
    return getattr(parts, "original_ids", None)


def pointer_in(request: Any) -> str:
    """The header that names the original id of a task; "" if there is none."""
    headers = getattr(request, "headers", None)
    pointer = headers.get(ORIGINAL_ID) if isinstance(headers, Mapping) else None
    return pointer if isinstance(pointer, str) else ""


def original_in(pointer: str, task_id: str) -> str | None:
    """The original id of *task_id*; None if *pointer* was copied from another task's message."""
    new_id, _, original = pointer.partition(" ")
    return original if original and new_id == task_id else None


def _copy(
    task: Task, request: Context, result: Any, state: str, traceback: str | None = None
) -> None:
    """Store an outcome under the original id, as it was stored under the task's own."""
    original = original_in(pointer_in(request), request.id)
    if original is None or follows(task.backend) or is_ignored(task, request, state):
        return
    store_for(task.backend, original, result, state, traceback, request)


def _copy_known(task: Task, request: Context) -> None:
    """Store under the original id what the backend has stored of a task, if that has ended."""
    if original_in(pointer_in(request), request.id) is None or follows(task.backend):
        return
    known = task.backend.get_task_meta(request.id)
    if known["status"] in states.READY_STATES:
        _copy(task, request, known["result"], known["status"], known.get("traceback"))


def store_for(
    backend: Any, original: str, result: Any, state: str, traceback: str | None, request: Any
) -> None:
    try:
        backend.store_result(original, result, state, traceback=traceback, request=request)
    except Exception:
        logger.exception("fullresult: the outcome of task %s is not stored", original)


def follows(backend: Any) -> bool:
    """True if *backend* reads the records, and finds there what a task goes on as."""
    return bool(getattr(backend, "follows_new_ids", False))


def is_ignored(task: Task, request: Any, state: str) -> bool:
    """True if Celery stores no such outcome. The message's `ignore_result` overrides the task's."""
    wish = vars(request).get("ignore_result")
    ignored = task.ignore_result if wish is None else wish
    return bool(ignored) and (state == states.SUCCESS or not task.store_errors_even_if_ignored)


def is_awaited(task_id: str) -> bool:
    """True if the canvas of the task that runs here names this id, as it is a chord's body."""
    request = current_task.request if current_task else None
    if request is None:
        return False
    given = (request.args, request.kwargs) if getattr(request, "task", None) == UNLOCK else ()
    return mentions([request.chord, given], task_id)


# ---- receivers


def on_before_task_publish(headers: dict[str, Any], body: Any, **_: Any) -> None:
    """Pass the pointer on to a message that has its new id, or leads to a task with that id.

    Celery does so for a retry without headers of its own, and not for a replacement.
    """
    pointer = pointer_in(current_task.request) if current_task else ""
    if not pointer or ORIGINAL_ID in headers:
        return
    new_id = pointer.partition(" ")[0]
    after = body if headers.get("task") == UNLOCK else body[2] if headers else None
    if headers.get("id") == new_id or mentions(after, new_id):
        headers[ORIGINAL_ID] = pointer


def mentions(value: Any, task_id: str) -> bool:
    """True if there is a signature with this id in *value*."""
    if isinstance(value, Mapping):
        return value.get("task_id") == task_id or mentions(list(value.values()), task_id)
    if isinstance(value, (list, tuple)):
        return any(mentions(each, task_id) for each in value)
    return False


def on_task_received(sender: Any, request: Request, **_: Any) -> None:
    if known := _of(sender.app):
        known.received(request)


def on_task_success(sender: Task, result: Any, **_: Any) -> None:
    if _of(sender.app):
        _copy(sender, sender.request, result, states.SUCCESS)


def on_task_failure(
    sender: Task, task_id: str, exception: BaseException, einfo: Any = None, **_: Any
) -> None:
    if known := _of(sender.app):
        traceback = getattr(einfo, "traceback", None)
        request = known.request(sender, task_id)
        _copy(sender, request, exception, states.FAILURE, traceback)


def on_task_internal_error(sender: Task, task_id: str, request: Any, **_: Any) -> None:
    # A hook raised after the outcome was stored, or the outcome could not be stored.
    if _of(sender.app):
        _copy_known(sender, Context(request, id=task_id))


def on_task_postrun(sender: Task, state: str | None = None, **_: Any) -> None:
    # A task may have stored a result by itself before it asked to be ignored.
    if state == states.IGNORED and _of(sender.app):
        _copy_known(sender, sender.request)


def on_task_revoked(
    sender: Task, request: Context, terminated: bool = False, expired: bool = False, **_: Any
) -> None:
    if _of(sender.app):
        reason = "expired" if expired else "terminated" if terminated else "revoked"
        _copy(sender, request, TaskRevokedError(reason), states.REVOKED)


def on_task_unknown(sender: Any, name: str, message: Any, **_: Any) -> None:
    headers = message.headers or {}
    original = original_in(pointer_in(message), str(headers.get("id")))
    if original and _of(sender.app) and not follows(sender.app.backend):
        store_for(sender.app.backend, original, NotRegistered(name), states.FAILURE, None, None)


RECEIVERS: dict[str, Callable[..., None]] = {
    "before_task_publish": on_before_task_publish,
    "task_received": on_task_received,
    "task_success": on_task_success,
    "task_failure": on_task_failure,
    "task_internal_error": on_task_internal_error,
    "task_postrun": on_task_postrun,
    "task_revoked": on_task_revoked,
    "task_unknown": on_task_unknown,
}
