"""Workers in MongoDB."""

from __future__ import annotations

from abc import abstractmethod
from datetime import datetime

from fullresult.record import Worker
from fullresult_storage_mongo.clients import Document
from fullresult_storage_mongo.database import Database, again


class MongoWorkers:
    """A `fullresult.storage.WorkerStorage`."""

    @abstractmethod
    def _prepared(self) -> Database:
        """The database, all collections and indexes known to be there."""

    def note_worker(self, worker: Worker) -> None:
        known = {"_id": worker.worker_id}
        first = {"date_started": worker.date_started}
        if worker.date_stopped is not None:
            first["date_stopped"] = worker.date_stopped
        last = {"date_seen": worker.date_seen, "alive_until": worker.alive_until}
        update = {"$setOnInsert": {"name": worker.name}, "$min": first, "$max": last}
        self._prepared().run(
            lambda handle: again(lambda: handle.workers.update_one(known, update, upsert=True))
        )

    def find_workers(self) -> list[Worker]:
        return self._prepared().read(lambda handle: [*map(_worker, handle.workers.find())])

    def forget_workers(self, seen_until: datetime) -> None:
        old = {"date_seen": {"$lte": seen_until}}
        self._prepared().run(lambda handle: handle.workers.delete_many(old))


def _worker(document: Document) -> Worker:
    return Worker(
        document["_id"],
        document["name"],
        document["date_started"],
        document["date_seen"],
        document["alive_until"],
        document.get("date_stopped"),
    )
