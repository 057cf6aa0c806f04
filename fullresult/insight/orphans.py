"""Orphans: tasks that were running when their worker went away."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

from fullresult.insight.search import has_index
from fullresult.record import PENDING, RETRY, SCHEDULED, SCHEDULED_SENT, UNSENT, TaskRecord, pages
from fullresult.record.stamps import worker_in
from fullresult.record.worker import Worker
from fullresult.storage import Storage, StorageError, TaskQuery, WalkingStorage, WorkerStorage

NOT_RUNNING = frozenset({SCHEDULED, SCHEDULED_SENT, PENDING, UNSENT, RETRY})
"""States in which no worker has the task."""
_PAGE = 100
_LOOKED = 20_000
"""Records of tasks that are open, which one read looks at: about 30 ms."""


class Orphan(NamedTuple):
    """A task that was running when its worker was last heard of."""

    record: TaskRecord
    worker: Worker


class Orphans:
    """The orphans of one storage, by its workers as of now.

    With *gone_for*, only those whose worker was last heard of at least that long ago. Raises
    `StorageError`.
    """

    def __init__(self, storage: Storage, gone_for: timedelta | None = None) -> None:
        if not isinstance(storage, WorkerStorage):
            raise StorageError("this storage does not keep which workers are alive")
        self._storage: Storage = storage
        self._now = storage.now()
        self._last = self._now if gone_for is None else self._now - gone_for
        self._workers = {worker.worker_id: worker for worker in storage.find_workers()}

    def find(self, query: TaskQuery) -> Iterator[Orphan]:
        """The orphans among the records that *query* asks for, the oldest first.

        The order, limit and page of *query* are ignored. Tasks that were sent again are left out.
        """
        if not any(map(self._is_gone, self._workers.values())):
            return
        not_state = frozenset({*query.not_state, *NOT_RUNNING})
        page = replace(
            query, open=True, not_state=not_state, order="oldest", limit=_PAGE, after=None
        )
        for record in _each(self._storage, page):
            worker = self.lost_by(record)
            if worker is not None and not was_sent_again(self._storage, record.task_id):
                yield Orphan(record, worker)

    def lost_by(self, record: TaskRecord) -> Worker | None:
        """The worker that ran it and is gone; None if that worker lives or is not known."""
        worker = self._worker_of(record)
        return worker if worker is not None and self._is_gone(worker) else None

    def is_running(self, record: TaskRecord) -> bool:
        """True if a worker that lives is running it."""
        worker = self._worker_of(record)
        return worker is not None and not worker.is_gone(self._now)

    def _is_gone(self, worker: Worker) -> bool:
        return worker.is_gone(self._now) and worker.gone_since <= self._last

    def _worker_of(self, record: TaskRecord) -> Worker | None:
        outcome = record.outcome
        if outcome is None or not outcome.open or outcome.state in NOT_RUNNING:
            return None
        return self._workers.get(worker_in(outcome.stamp))


def _each(storage: Storage, query: TaskQuery) -> Iterator[TaskRecord]:
    """All that *query* asks for; where a million wait besides, in reads that are short."""
    # A name has an index, but a million of its tasks may just wait.
    if not isinstance(storage, WalkingStorage) or has_index(storage, replace(query, name=None)):
        yield from pages.walk(storage.find, query)
        return
    walking: WalkingStorage = storage
    after = query.after
    while True:
        records, after = walking.walk(replace(query, after=after), _LOOKED)
        yield from records
        if after is None:
            return


def was_sent_again(storage: Storage, task_id: str) -> bool:
    """True if the task has a re-send that reached the broker. Raises `StorageError`."""
    return storage.count(TaskQuery(retry_of=task_id, not_state=(UNSENT,))) > 0
