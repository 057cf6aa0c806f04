"""The worker that this process belongs to, if it is a worker's process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4
from weakref import ref

from celery.bootsteps import TERMINATE

_workers: list[tuple[ref[Any], str]] = []
"""The workers of this process and their ids, made before the pool forks.

A list of the module's own, because Celery keeps no way from a process to its worker: a task may
publish through any app, and the signal `worker_init` is all that says so.
"""


def became_worker(worker: Any) -> None:
    """This process, and those it forks, belong to *worker* until it ends."""
    _workers[:] = [known for known in _workers if known[0]() is not None]
    _workers.append((ref(worker), uuid4().hex))


def is_worker() -> bool:
    """True if a publish here is a worker's own: a retry, a link, or a task's body that sends."""
    return worker_id() != ""


def worker_id() -> str:
    """The id of this worker, which no other has, not even a former one of its name; or ""."""
    return next(_living(), "")


def _living() -> Iterator[str]:
    """The ids of the workers that have not ended, the latest to begin first."""
    for reference, known in reversed(_workers):
        worker = reference()
        if worker is not None and _lives(worker):
            yield known


def _lives(worker: Any) -> bool:
    # `worker_init` comes before a worker has a blueprint, and a terminated one sends no signal.
    blueprint = getattr(worker, "blueprint", None)
    return blueprint is None or blueprint.state != TERMINATE
