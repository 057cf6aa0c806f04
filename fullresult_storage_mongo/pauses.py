"""Pauses of queues in MongoDB."""

from __future__ import annotations

from abc import abstractmethod

from fullresult.record import Pause
from fullresult_storage_mongo.clients import Document
from fullresult_storage_mongo.database import Database, again


class MongoPauses:
    """A `fullresult.storage.PauseStorage`."""

    @abstractmethod
    def _prepared(self) -> Database:
        """The database, all collections and indexes known to be there."""

    def keep_pause(self, pause: Pause) -> None:
        one, known = _one(pause.namespace, pause.queue), pause._asdict()
        del known["namespace"], known["queue"]
        self._prepared().run(
            lambda handle: again(lambda: handle.pauses.replace_one(one, known, upsert=True))
        )

    def end_pause(self, namespace: str, queue: str) -> bool:
        one = _one(namespace, queue)
        deleted = self._prepared().run_once(lambda handle: handle.pauses.delete_one(one))
        return deleted.deleted_count > 0

    def find_pauses(self) -> list[Pause]:
        return self._prepared().run(lambda handle: [*map(_pause, handle.pauses.find())])


def _one(namespace: str, queue: str) -> Document:
    return {"_id": {"namespace": namespace, "queue": queue}}


def _pause(document: Document) -> Pause:
    return Pause(**document.pop("_id"), **document)
