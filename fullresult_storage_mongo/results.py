"""What a result backend keeps and asks, in MongoDB."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from datetime import datetime, timezone
from uuid import uuid4

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError, PyMongoError

from fullresult.record import FINISHED, TaskRecord
from fullresult.storage import StorageError, Uncertain
from fullresult_storage_mongo import records
from fullresult_storage_mongo.clients import Document, Handle
from fullresult_storage_mongo.database import Database, again, is_lost
from fullresult_storage_mongo.writing import twice

_TRIES = 20
_NEVER = datetime(9999, 12, 31, tzinfo=timezone.utc)
_WITHOUT_ENTRIES = {"entries": 0}


class MongoResults:
    """A `fullresult.storage.ResultStorage`."""

    @abstractmethod
    def _prepared(self) -> Database:
        """The database, all collections and indexes known to be there."""

    def get_results(self, task_ids: Collection[str]) -> list[TaskRecord]:
        ids = {"_id": {"$in": [*task_ids]}}
        return self._prepared().read(
            lambda handle: [*map(records.record, handle.results.find(ids, _WITHOUT_ENTRIES))]
        )

    def get_finished(self, task_ids: Collection[str]) -> list[str]:
        finished = {"_id": {"$in": [*task_ids]}, "state": {"$in": sorted(FINISHED)}}
        return self._prepared().run(
            lambda handle: [each["_id"] for each in handle.results.find(finished, {"_id": 1})]
        )

    def forget(self, task_id: str) -> None:
        self._prepared().run(lambda handle: handle.results.delete_one({"_id": task_id}))

    def save_group(self, group_id: str, value: bytes, expire_at: datetime | None) -> None:
        known, kept = {"_id": group_id}, {"value": value, "expire_at": expire_at}
        self._prepared().run(
            lambda handle: again(lambda: handle.groups.replace_one(known, kept, upsert=True))
        )

    def restore_group(self, group_id: str) -> bytes | None:
        found = self._prepared().run(lambda handle: handle.groups.find_one({"_id": group_id}))
        return bytes(found["value"]) if found else None

    def delete_group(self, group_id: str) -> None:
        self._prepared().run(lambda handle: handle.groups.delete_one({"_id": group_id}))

    def join_chord(
        self,
        chord_id: str,
        member: str,
        size: int,
        expire_at: datetime | None,
        *,
        call: str | None = None,
    ) -> bool:
        joining = _Joining(chord_id, member, size, expire_at or _NEVER, call or uuid4().hex)
        database = self._prepared()
        try:
            return database.run(lambda handle: twice(lambda: joining.join(handle)))
        except StorageError as error:
            if joining.may_be_done:
                raise Uncertain(f"{error}; whether {member} was counted is not known") from error
            raise

    def forget_chord(self, chord_id: str) -> None:
        self._prepared().run(lambda handle: handle.chords.delete_one({"_id": chord_id}))


class _Joining:
    """A member that joins a chord: one command, on one document that has all members."""

    def __init__(
        self, chord_id: str, member: str, size: int, expire_at: datetime, call: str
    ) -> None:
        self.may_be_done = False
        """Whether an answer was lost."""
        self._size, self._call = size, call
        self._missing = {"_id": chord_id, "members": {"$ne": member}, "joined": {"$lt": size}}
        self._known = {
            "_id": chord_id,
            "$or": [{"members": {"$eq": member}}, {"joined": {"$gte": size}}],
        }
        self._update: Document = {
            "$push": {"members": member},
            "$inc": {"joined": 1},
            "$set": {"last_call": call},
            "$max": {"expire_at": expire_at},
        }

    def join(self, handle: Handle) -> bool:
        """Whether this call completed the chord. Raises PyMongo's errors."""
        try:
            return self._join(handle)
        except PyMongoError as error:
            self.may_be_done = self.may_be_done or is_lost(error)
            raise

    def _join(self, handle: Handle) -> bool:
        for _ in range(_TRIES):
            try:
                found = handle.chords.find_one_and_update(
                    self._missing,
                    self._update,
                    {"joined": 1},
                    upsert=True,
                    return_document=ReturnDocument.AFTER,
                )
            except DuplicateKeyError:
                found = handle.chords.find_one(self._known, {"joined": 1, "last_call": 1})
                if found is None:
                    continue  # somebody made it a moment ago
                return bool(found["joined"] >= self._size and found["last_call"] == self._call)
            assert found is not None
            return bool(found["joined"] == self._size)
        raise DuplicateKeyError("others make and forget this chord all the time")
