"""Deleting in batches what has expired."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from fullresult.storage.contract import Storage
from fullresult.storage.optional import ResultStorage

T = TypeVar("T")

BATCH = 500
_REST = 8
"""A rest is this many times as long as the batch took: writers on a busy database notice little."""


def purge(storage: Storage, advance: Callable[[int], None] | None = None) -> int:
    """Delete all that has expired by now: records with their entries, groups and chords.

    Returns the number of records. After each batch of them *advance* is given its number, and
    writers get a rest. Several processes may purge at once. Raises `StorageError`.
    """
    now = storage.now()
    total = 0
    for deleted in _in_turns(lambda: storage.delete_expired(now, BATCH), lambda n: n < BATCH):
        total += deleted
        if advance is not None:
            advance(deleted)
    if isinstance(storage, ResultStorage):
        results: ResultStorage = storage
        for _ in _in_turns(
            lambda: results.delete_expired_results(now, BATCH), lambda more: not more
        ):
            pass
    return total


def _in_turns(delete: Callable[[], T], is_last: Callable[[T], bool]) -> Iterator[T]:
    """The answers of *delete*, called until its answer is the last, with rests between."""
    while True:
        began = time.monotonic()
        answer = delete()
        took = time.monotonic() - began
        yield answer
        if is_last(answer):
            return
        time.sleep(took * _REST)
