"""Whether this process is a worker's, and which one's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import uuid4
from weakref import ref

from celery.bootsteps import TERMINATE

_workers: list[tuple[ref[Any], str]] = []
"""They and their ids, made before they fork."""


def became_worker(worker: Any) -> None:
    """This process, and the ones it forks, are those of *worker*, until it has ended."""
    _workers[:] = [known for known in _workers if known[0]() is not None]
    _workers.append((ref(worker), uuid4().hex))


def is_worker() -> bool:
    """Whether a publish here is a worker's own: a retry, a link, or what a task's body sends."""
    return worker_id() != ""


def worker_id() -> str:
    """What tells this worker from all others, also from one before of the same name; else ""."""
    return next(_living(), "")


def _living() -> Iterator[str]:
    """The ids of those that have not ended, the last to begin first."""
    for reference, known in reversed(_workers):
        worker = reference()
        if worker is not None and _lives(worker):
            yield known


def _lives(worker: Any) -> bool:
    # It tells of its beginning before it has a blueprint; one that is terminated tells of no end.
    blueprint = getattr(worker, "blueprint", None)
    return blueprint is None or blueprint.state != TERMINATE
