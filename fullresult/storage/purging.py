"""Deleting expired records in batches."""

from __future__ import annotations

import time
from collections.abc import Callable

from fullresult.storage.contract import Storage

BATCH = 500
_REST = 8
"""A rest is this many times as long as the batch took: writers on a busy database notice little."""


def purge(storage: Storage, advance: Callable[[int], None] | None = None) -> int:
    """Delete the records that have expired by now, with their entries; returns how many.

    After each batch *advance* is given its number of records, and writers get a rest. Several
    processes may purge at once. Raises `StorageError`.
    """
    now = storage.now()
    total = 0
    while True:
        began = time.monotonic()
        deleted = storage.delete_expired(now, BATCH)
        took = time.monotonic() - began
        total += deleted
        if advance is not None:
            advance(deleted)
        if deleted < BATCH:
            return total
        time.sleep(took * _REST)
