"""Workers in any SQL database."""

from __future__ import annotations

from datetime import datetime

from fullresult.record import Worker
from fullresult_storage_sql import rows
from fullresult_storage_sql.prepared import Prepared


class SqlWorkers(Prepared):
    """A `fullresult.storage.WorkerStorage`."""

    def note_worker(self, worker: Worker) -> None:
        database = self._prepared()
        database.ask(database.sql["note_worker"], rows.worker_parameters(worker))

    def find_workers(self) -> list[Worker]:
        database = self._prepared()
        return [rows.worker(row) for row in database.ask(database.sql["find_workers"], [])]

    def forget_workers(self, seen_until: datetime) -> None:
        database = self._prepared()
        database.ask(database.sql["forget_workers"], [rows.date_text(seen_until)])
