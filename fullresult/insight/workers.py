"""The workers that a storage knows."""

from __future__ import annotations

from typing import NamedTuple

from fullresult.storage import Storage, WorkerStorage


class Workers(NamedTuple):
    """The number of workers that live, and that are known."""

    alive: int
    known: int
    """Includes those that are gone, until the storage forgets them."""


def count_workers(storage: Storage) -> Workers | None:
    """None if the storage does not keep its workers. Raises `StorageError`."""
    if not isinstance(storage, WorkerStorage):
        return None
    now = storage.now()
    known = storage.find_workers()
    return Workers(sum(not worker.is_gone(now) for worker in known), len(known))
