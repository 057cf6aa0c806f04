"""Errors that a result backend forgets before a workflow goes on, and gets back if it does not."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.backends.base import DisabledBackend
from celery.states import PENDING, PROPAGATE_STATES

from fullresult.record import TaskRecord, encoding

if TYPE_CHECKING:
    from fullresult.recording.recorder import Recorder
    from fullresult.storage import Storage


class Forgotten:
    """The errors kept under *task_ids*, of tasks that never ran because another one failed.

    They are forgotten before the first message is sent. Later, a worker could be quicker than we
    are, and a result that the task has returned by then would be deleted.
    """

    def __init__(
        self, app: Celery, storage: Storage, recorder: Recorder, task_ids: Iterable[str]
    ) -> None:
        self._backend, self._storage, self._recorder = app.backend, storage, recorder
        self._task_ids = [] if isinstance(self._backend, DisabledBackend) else list(task_ids)
        self._records: list[TaskRecord] = []
        self._metas: list[tuple[str, dict[str, Any]]] = []

    def forget(self) -> None:
        """Have nobody who asks read those errors. Raises the backend's errors."""
        for task_id in self._task_ids:
            with suppress(NotImplementedError):
                meta = self._backend.get_task_meta(task_id, cache=False)
                if meta["status"] not in PROPAGATE_STATES:
                    continue
                record = self._storage.get(encoding.key(task_id))
                self._metas.append((task_id, meta))
                self._backend.forget(task_id)
                if record is not None and self._storage.get(record.task_id) is None:
                    # A backend of ours: the record is what it knows.
                    self._metas.pop()
                    self._records.append(record)

    def put_back(self) -> None:
        """Undo it, where nothing has come since. Raises the backend's errors, and the storage's."""
        for record in self._records:
            if self._storage.get(record.task_id) is None:
                self._recorder.writer.write(record)
        for task_id, meta in self._metas:
            if self._backend.get_state(task_id) == PENDING:
                self._backend.store_result(
                    task_id, meta["result"], meta["status"], traceback=meta.get("traceback")
                )
