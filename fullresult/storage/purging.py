"""Deleting in batches what has expired."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from fullresult.storage.contract import Storage
from fullresult.storage.optional import AuditStorage, ResultStorage
from fullresult.storage.partitions import PartitionedStorage
from fullresult.storage.replays import ReplayStorage

T = TypeVar("T")

BATCH = 500
_ENTRIES = 50
"""Of the audit log, whose entries may name thousands of tasks."""
_MOVED = 1_000
_SHORT_REST = 2
"""Of a move, which has to keep pace with the tasks of a day."""
_REST = 8
"""A rest is this many times as long as the batch took: writers on a busy database notice little."""


def purge(
    storage: Storage,
    advance: Callable[[int], None] | None = None,
    *,
    audit_kept: timedelta | None = None,
) -> int:
    """Delete all that has expired by now: records with their entries, groups and chords.

    With *audit_kept*, also the entries of the audit log, and the replays, that are older. Returns
    the number of records. After each batch of them *advance* is given its number, and writers get a
    rest. Several processes may purge at once. Raises `StorageError`.
    """
    now = storage.now()
    total = _drop(storage, now, advance)
    for deleted in _in_turns(lambda: storage.delete_expired(now, BATCH), lambda n: n < BATCH):
        total += deleted
        if advance is not None:
            advance(deleted)
    if isinstance(storage, PartitionedStorage):
        # Last: what has expired need not be moved.
        for _ in _in_turns(partial(storage.move_ended, now, _MOVED), operator.not_, _SHORT_REST):
            pass
    _purge_results(storage, now)
    if audit_kept is not None:
        _purge_audit(storage, now - audit_kept)
        _purge_replays(storage, now - audit_kept)
    return total


def _drop(storage: Storage, now: datetime, advance: Callable[[int], None] | None) -> int:
    if not isinstance(storage, PartitionedStorage):
        return 0
    dropped = storage.drop_partitions(now)
    if dropped and advance is not None:
        advance(dropped)
    return dropped


def _purge_results(storage: Storage, now: datetime) -> None:
    if isinstance(storage, ResultStorage):
        for _ in _in_turns(partial(storage.delete_expired_results, now, BATCH), operator.not_):
            pass


def _purge_audit(storage: Storage, until: datetime) -> None:
    if isinstance(storage, AuditStorage):
        for _ in _in_turns(partial(storage.forget_audit, until, _ENTRIES), lambda n: n < _ENTRIES):
            pass


def _purge_replays(storage: Storage, until: datetime) -> None:
    if isinstance(storage, ReplayStorage):
        for _ in _in_turns(partial(storage.forget_replays, until, BATCH), operator.not_):
            pass


def _in_turns(
    delete: Callable[[], T], is_last: Callable[[T], bool], rest: int = _REST
) -> Iterator[T]:
    """The answers of *delete*, called until its answer is the last, with rests between."""
    while True:
        began = time.monotonic()
        answer = delete()
        took = time.monotonic() - began
        yield answer
        if is_last(answer):
            return
        time.sleep(took * rest)
