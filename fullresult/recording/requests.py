"""Celery's requests: which attempt, worker and task a run belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakValueDictionary

from celery import Celery
from celery.app.task import Context
from celery.worker.request import Request

from fullresult.record import TaskRecord, encoding
from fullresult.record.headers import SCHEDULE_ID
from fullresult.record.stamps import Attempt, attempt_in
from fullresult.storage import StorageError

_LONGEST_ID = 64
_OF_STAND_INS = (
    *("id", "args", "kwargs", "hostname", "delivery_info", "retries", "root_id", "parent_id"),
    *("group", "group_index", "chord", "chain", "callbacks", "errbacks"),
    *("ignore_result", "reply_to", "correlation_id"),
)
"""Attributes of a stand-in for a request that are taken over, where it has them."""


def as_context(request: Any) -> Context | None:
    """*request*, or a `Context` of the stand-in for one that another library hands over.

    What the stand-in does not say has Celery's default.
    """
    if request is None or isinstance(request, Context):
        return request
    headers = getattr(request, "request_dict", None)
    known = dict(headers) if isinstance(headers, Mapping) else {}
    told = {name: getattr(request, name, None) for name in _OF_STAND_INS}
    known.update((name, value) for name, value in told.items() if value is not None)
    name = getattr(request, "task", None) or getattr(request, "name", None)
    return Context(known, task=name) if isinstance(name, str) else Context(known)


class ReceivedRequests:
    """The requests of a worker's main process, each for as long as Celery holds it.

    Later signals of that process often do not say which attempt they are about; the request does.
    """

    def __init__(self) -> None:
        self._requests: WeakValueDictionary[str, Request] = WeakValueDictionary()

    def add(self, request: Request) -> None:
        self._requests[request.id] = request

    def attempt(self, task_id: str) -> tuple[Attempt, str | None] | None:
        """The attempt and the worker of *task_id*; None if its request is gone."""
        request = self._requests.get(task_id)
        if request is None:
            return None
        return attempt_in(request.request_dict), worker_of(request)


def recorded_attempt(
    get: Callable[[str], TaskRecord | None], task_id: str
) -> tuple[Attempt, str | None]:
    """The attempt and the worker of *task_id* that its record, which *get* answers, knows last."""
    try:
        record = get(encoding.key(task_id))
    except StorageError:
        record = None
    if record is None or record.outcome is None:
        return Attempt(), None
    return Attempt.in_stamp(record.outcome.stamp), record.worker


def attempt_of(request: Context) -> Attempt:
    return Attempt.of(request.replaced_task_nesting, request.retries)


def schedule_of(request: Context) -> str:
    """The id of the schedule that its message was sent for; "" for none."""
    headers = getattr(request, "headers", None)
    known = headers.get(SCHEDULE_ID) if isinstance(headers, Mapping) else None
    if not isinstance(known, str) or len(known) > _LONGEST_ID:
        return ""
    return known if known.isascii() and known.isalnum() else ""


def is_redelivered(request: Context | None) -> bool:
    return request is not None and bool((request.delivery_info or {}).get("redelivered"))


class MayRunAgain:
    """True for a request whose message others may run too.

    It was delivered before, or every worker has it: it came from a fanout exchange (`Broadcast`).
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    def __call__(self, request: Context | None) -> bool:
        return is_redelivered(request) or self._is_for_all(request)

    def _is_for_all(self, request: Context | None) -> bool:
        exchange = request is not None and (request.delivery_info or {}).get("exchange")
        queues = self._app.amqp.queues.values() if exchange else ()
        return any(
            q.exchange and (q.exchange.name, q.exchange.type) == (exchange, "fanout")
            for q in queues
        )


def name_of(request: Context | None) -> str | None:
    """The name of its task; None for a request made of a signature's options, which lack it."""
    return getattr(request, "task", None)


def arguments_of(request: Context) -> tuple[Any, Any]:
    """Its args and kwargs; None, None for the stand-in that Celery makes for an unknown task."""
    return getattr(request, "args", None), getattr(request, "kwargs", None)


def worker_of(request: Any) -> str | None:
    return None if request.hostname is None else encoding.key(request.hostname)
