"""Which workers are alive, in any SQL database."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from fullresult.record.worker import Worker
from fullresult_storage_sql import rows


class WorkerDatabase(Protocol):
    """What a database does for workers, on a schema known to be there.

    Every method raises `StorageError` and nothing else.
    """

    sql: dict[str, str]

    def ask(self, sql: str, values: Sequence[Any]) -> list[Sequence[Any]]:
        """Run one statement, by itself, and return its rows."""
        ...


class SqlWorkers:
    """A `fullresult.storage.WorkerStorage`."""

    @abstractmethod
    def _prepared(self) -> WorkerDatabase:
        """The database, its schema known to be there."""

    def note_worker(self, worker: Worker) -> None:
        database = self._prepared()
        database.ask(database.sql["note_worker"], rows.worker_parameters(worker))

    def find_workers(self) -> list[Worker]:
        database = self._prepared()
        return [rows.worker(row) for row in database.ask(database.sql["find_workers"], [])]

    def forget_workers(self, seen_until: datetime) -> None:
        database = self._prepared()
        database.ask(database.sql["forget_workers"], [rows.date_text(seen_until)])
