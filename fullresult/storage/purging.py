"""Deleting what has been kept long enough, a little at a time."""

from __future__ import annotations

import time
from collections.abc import Callable

from fullresult.storage.contract import Storage

BATCH = 500
_REST = 8
"""Times as long as it worked: writers of a database that has no time to spare notice little."""


def purge(storage: Storage, advance: Callable[[int], None] | None = None) -> int:
    """Delete the records that expired by now, with their entries; returns how many.

    After each batch there is a rest, so that writers get their turn; *advance* is told how many
    records it had. Safe when several do it at once. Raises `StorageError`.
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
