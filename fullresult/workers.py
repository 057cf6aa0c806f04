"""Whether this process is a worker's."""

from __future__ import annotations

from typing import Any
from weakref import WeakSet

from celery.bootsteps import TERMINATE

_workers: WeakSet[Any] = WeakSet()


def became_worker(worker: Any) -> None:
    """This process, and the ones it forks, are those of *worker*, until it has ended."""
    _workers.add(worker)


def is_worker() -> bool:
    """Whether a publish here is a worker's own: a retry, a link, or what a task's body sends."""
    return any(_lives(worker) for worker in list(_workers))


def _lives(worker: Any) -> bool:
    # It tells of its beginning before it has a blueprint; one that is terminated tells of no end.
    blueprint = getattr(worker, "blueprint", None)
    return blueprint is None or blueprint.state != TERMINATE
