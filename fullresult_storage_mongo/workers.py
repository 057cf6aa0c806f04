"""Workers in MongoDB."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from datetime import datetime, timedelta, timezone

from fullresult.record import Worker, WorkerCard
from fullresult_storage_mongo.clients import Document, Handle
from fullresult_storage_mongo.database import Database, again

_A_DAY = timedelta(days=1)
_NEVER = datetime(1, 1, 1, tzinfo=timezone.utc)


class MongoWorkers:
    """A `fullresult.storage.CardStorage`."""

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

    def note_card(self, card: WorkerCard, names: str) -> None:
        known = {"date_written": card.date_written, "names_id": card.names_id, "card": card.text}
        noted = {"$max": {"date_noted": card.date_written}, "$setOnInsert": {"names": names}}

        def note(handle: Handle) -> None:
            one = {"_id": card.worker_id}
            newer = {"$lt": [{"$ifNull": ["$date_written", _NEVER]}, card.date_written]}
            fields = {
                name: {"$cond": [newer, {"$literal": value}, f"${name}"]}
                for name, value in known.items()
            }
            again(lambda: handle.cards.update_one(one, [{"$set": fields}], upsert=True))
            # After the card: names that no card has are deleted.
            one = {"_id": card.names_id}
            again(lambda: handle.names.update_one(one, noted, upsert=True))

        self._prepared().run(note)

    def find_cards(self, worker_ids: Collection[str] | None = None) -> list[WorkerCard]:
        wanted = {} if worker_ids is None else {"_id": {"$in": [*worker_ids]}}
        return self._prepared().read(lambda handle: [*map(_card, handle.cards.find(wanted))])

    def find_names(self, names_ids: Collection[str]) -> dict[str, str]:
        wanted = {"_id": {"$in": [*names_ids]}}
        found = self._prepared().read(lambda handle: [*handle.names.find(wanted)])
        return {document["_id"]: document["names"] for document in found}

    def forget_gone(self, now: datetime, most: int) -> None:
        gone = {"$or": [{"date_stopped": {"$exists": True}}, {"alive_until": {"$lt": now}}]}
        last = [("date_seen", -1), ("_id", 1)]

        def forget(handle: Handle) -> None:
            beyond = handle.workers.find(gone, {"_id": 1}).sort(last).skip(most)
            handle.workers.delete_many({"_id": {"$in": [each["_id"] for each in beyond]}})
            handle.cards.delete_many({"_id": {"$nin": handle.workers.distinct("_id")}})
            used, old = handle.cards.distinct("names_id"), {"$lte": now - _A_DAY}
            handle.names.delete_many({"_id": {"$nin": used}, "date_noted": old})

        self._prepared().run(forget)


def _card(document: Document) -> WorkerCard:
    return WorkerCard(
        document["_id"], document["date_written"], document["names_id"], document["card"]
    )


def _worker(document: Document) -> Worker:
    return Worker(
        document["_id"],
        document["name"],
        document["date_started"],
        document["date_seen"],
        document["alive_until"],
        document.get("date_stopped"),
    )
