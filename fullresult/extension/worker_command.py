"""The inspect command by which a worker says at once what it knows of some tasks.

Celery's own commands are one question each, and none of them sees the tasks that a rate limit holds
back.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from celery.worker import state as worker_state
from celery.worker.control import inspect_command
from celery.worker.request import Request

from fullresult.extension.parts import parts_of
from fullresult.extension.running_worker import RunningWorker
from fullresult.insight.live import COMMAND, PAUSING
from fullresult.recording import this_worker
from fullresult.recording.worker_card import pool_of, processes_of, queues_of

_MOST = 20
"""Running tasks that are named."""
_TRIES = 10


def register() -> None:
    """Have the workers of this process answer the command."""
    inspect_command(name=COMMAND, args=[("ids", list)], visible=False)(answer)
    told = [("queue", str), ("paused", bool)]
    inspect_command(name=PAUSING, args=told, visible=False)(pausing)


def answer(state: Any, ids: Iterable[str] = (), **_: Any) -> dict[str, Any]:
    """All that the worker knows of the tasks *ids*, and what it is doing."""
    consumer, wanted = state.consumer, {*ids}
    running = sorted(_all(worker_state.active_requests), key=_since)
    return {
        "worker_id": this_worker.worker_id(),
        "at": time.time(),
        "queues": queues_of(consumer),
        "pool": pool_of(consumer),
        "processes": processes_of(consumer),
        "running": [[each.id, each.name, _since(each)] for each in running[:_MOST]],
        "running_count": len(running),
        "reserved_count": len(worker_state.reserved_requests) - len(running),
        "eta_count": sum(1 for _ in waiting(consumer)),
        "spooled": spooled(getattr(state, "app", None)),
        "held": dict(_held(consumer, wanted)),
        "revoked": [task_id for task_id in wanted if task_id in worker_state.revoked],
    }


def pausing(state: Any, queue: str = "", paused: bool = False, **_: Any) -> dict[str, Any]:
    """Pause or resume a queue at once, before the storage is asked again."""
    parts = parts_of(state.app)
    worker = parts.worker if parts is not None else None
    follows = isinstance(worker, RunningWorker) and worker.told(str(queue), paused=bool(paused))
    return {"worker_id": this_worker.worker_id(), "follows": follows}


def spooled(app: Any) -> int:
    """Files of events that are not written yet: one may tell of a task what its record lacks."""
    full = getattr(app, "fullresult", None)
    flusher = full.recorder.writer.flusher if full is not None else None
    return 0 if flusher is None else flusher.files


def _all(requests: Any) -> list[Any]:
    """The requests of one of Celery's sets, to which threads of a pool may add meanwhile."""
    for _ in range(_TRIES):
        with suppress(RuntimeError):
            return list(requests)
    return list(requests)  # an error is an answer; an empty list would say that it has none


def _since(request: Any) -> float:
    return float(request.time_start or 0)


def _held(consumer: Any, ids: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The tasks of *ids* that the worker has, the surest answer last."""
    for request in _all(worker_state.reserved_requests):
        if request.id in ids:
            yield request.id, {"as": "reserved"}
    for request in waiting(consumer):
        if request.id in ids:
            yield request.id, {"as": "eta", "eta": request.eta.isoformat()}
    yield from _limited(consumer, ids)
    for request in _all(worker_state.active_requests):
        if request.id in ids:
            yield request.id, {"as": "running", "since": _since(request)}


def waiting(consumer: Any) -> Iterator[Any]:
    """The requests that wait for their ETA in the worker."""
    schedule = consumer.timer.schedule
    # Not `queue`, which sorts: the entries of gevent and eventlet cannot be sorted.
    for timed in list(getattr(schedule, "_queue", ())):
        arguments = getattr(timed.entry, "args", None) or (None,)
        if isinstance(arguments[0], Request) and arguments[0].eta is not None:
            yield arguments[0]


def _limited(consumer: Any, ids: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The tasks that a rate limit holds back, each with the number of those before it."""
    for bucket in list(consumer.task_buckets.values()):
        contents = bucket.contents if bucket is not None else ()
        for ahead, (request, _) in enumerate(list(contents)):
            if request.id in ids:
                rate = getattr(request.type, "rate_limit", None)
                named = str(getattr(request.task, "rate_limit", rate) or rate)
                yield request.id, {"as": "limited", "ahead": ahead, "rate": named}
