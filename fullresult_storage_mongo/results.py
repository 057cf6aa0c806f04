"""The part of a storage that a result backend uses, in MongoDB."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from uuid import uuid4

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError

from fullresult.record import SCHEDULED, SUCCESS, Message, Stored, TaskRecord
from fullresult.storage import Refused, StorageError, Uncertain
from fullresult_storage_mongo import records, writing
from fullresult_storage_mongo.clients import Document, Handle
from fullresult_storage_mongo.database import Database, again, is_lost, twice
from fullresult_storage_mongo.held_connections import Command

_TRIES = 20
_NEVER = datetime(9999, 12, 31, tzinfo=timezone.utc)
_ENDED: Document = {"open": False, "state": {"$ne": SCHEDULED}}
_WITHOUT_ENTRIES = {"entries": 0}
_RETURNED = dict.fromkeys(("outcome_stamp", "result", *records.STORED), 1)
_SHOWN = ("stamp", "name", "queue", "parent_id", "group_id")
_WITHOUT_MESSAGES = {
    "other_root": 0,
    **{name: 0 for name in ("entries", *Message._fields) if name not in _SHOWN},
}


class MongoResults:
    """A `fullresult.storage.ResultStorage` and `JoiningStorage`."""

    @abstractmethod
    def _prepared(self) -> Database:
        """The database, all collections and indexes known to be there."""

    def get_results(self, task_ids: Collection[str]) -> list[TaskRecord]:
        return self._get(task_ids, {}, _WITHOUT_ENTRIES)

    def get_ended(self, task_ids: Collection[str], *, messages: bool = True) -> list[TaskRecord]:
        return self._get(task_ids, _ENDED, _WITHOUT_ENTRIES if messages else _WITHOUT_MESSAGES)

    def get_successes(self, task_ids: Collection[str]) -> dict[str, Stored | str]:
        found = self._documents(task_ids, {"state": SUCCESS}, _RETURNED)
        returned = {document["_id"]: records.returned(document) for document in found}
        return {task_id: each for task_id, each in returned.items() if each is not None}

    def _get(
        self, task_ids: Collection[str], asked: Document, fields: Document
    ) -> list[TaskRecord]:
        return [*map(records.record, self._documents(task_ids, asked, fields))]

    def _documents(
        self, task_ids: Collection[str], asked: Document, fields: Document
    ) -> list[Document]:
        asked = {"_id": {"$in": [*task_ids]}, **asked}
        # All in one answer, and no cursor stays behind.
        size = len(task_ids) + 1
        return self._prepared().read(
            lambda handle: [*handle.results.find(asked, fields, batch_size=size)]
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
        with joining.uncertain():
            return database.run(lambda handle: twice(handle, lambda: joining.join(handle)))

    def write_and_join(
        self,
        event: TaskRecord,
        chord_id: str,
        size: int,
        expire_at: datetime | None,
        *,
        call: str | None = None,
    ) -> tuple[list[str], bool]:
        known = chord_id, event.task_id, size, expire_at or _NEVER, call or uuid4().hex
        joining = _Joining(*known)

        def one_after_the_other(handle: Handle) -> tuple[list[str], bool]:
            return writing.write(handle, [event]), joining.join(handle)

        database = self._prepared()
        with joining.uncertain():
            at_once = database.at_once(_write_and_join, (event, joining))
            if at_once is not None:
                return at_once
            return database.run(lambda handle: twice(handle, lambda: one_after_the_other(handle)))

    def forget_chord(self, chord_id: str) -> None:
        self._prepared().run(lambda handle: handle.chords.delete_one({"_id": chord_id}))


def _write_and_join(
    handle: Handle, both: tuple[TaskRecord, _Joining]
) -> tuple[list[str], bool] | None:
    """By two commands on one line, if there is one; the second waits for the disk.

    A member is counted only after its end is written, and both are on one connection: a server that
    lost the first would have lost the second, and the connection with it.
    """
    event, joining = both

    def do(send: Command) -> tuple[list[str], bool] | None:
        lacking = writing.write_on(send, handle, event, handle.followed_concern)
        complete = None if lacking is None else joining.join_on(send, handle)
        return None if lacking is None or complete is None else (lacking, complete)

    return handle.lines.by_one(do)


class _Joining:
    """Join a member by one command, on one document that has all members."""

    def __init__(
        self, chord_id: str, member: str, size: int, expire_at: datetime, call: str
    ) -> None:
        self.may_be_done = False
        """True if an answer was lost."""
        self._member, self._size, self._call = member, size, call
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

    @contextmanager
    def uncertain(self) -> Iterator[None]:
        """Raises `Uncertain` instead of a `StorageError` after which the member may be counted."""
        try:
            yield
        except StorageError as error:
            if self.may_be_done and not isinstance(error, Refused):
                raise Uncertain(
                    f"{error}; whether {self._member} was counted is not known"
                ) from error
            raise

    def join(self, handle: Handle) -> bool:
        """True if this call completed the chord. Raises PyMongo's errors."""
        try:
            return self._join(handle)
        except PyMongoError as error:
            self.may_be_done = self.may_be_done or is_lost(error)
            raise

    def join_on(self, send: Command, handle: Handle) -> bool | None:
        """The same by one command; None if it takes more, or may not be safe yet."""
        self.may_be_done = True
        try:
            answer = send(
                {
                    "findAndModify": handle.chords.name,
                    "query": self._missing,
                    "update": self._update,
                    "fields": {"joined": 1},
                    "upsert": True,
                    "new": True,
                    "writeConcern": handle.concern,
                }
            )
        except OperationFailure as error:
            if error.timeout:
                raise
            return None
        if "writeConcernError" in answer:
            return None
        return bool(answer["value"]["joined"] == self._size)

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
