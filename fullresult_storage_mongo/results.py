"""The part of a storage that a result backend uses, in MongoDB."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime, timezone
from functools import partial
from uuid import uuid4

from fullresult.record import FAILURE, SCHEDULED, SUCCESS, Message, Stored, TaskRecord
from fullresult.storage import CompleteChord, QuietChord, StorageError
from fullresult_storage_mongo import chord_members, chords, records, writing
from fullresult_storage_mongo.chords import Joining
from fullresult_storage_mongo.clients import Document, Handle
from fullresult_storage_mongo.database import Database, again, twice
from fullresult_storage_mongo.held_connections import Command

_NEVER = datetime(9999, 12, 31, tzinfo=timezone.utc)
_MOST_IDS = 50_000
"""Ids in one command, which holds 16 MB."""
_ENDED: Document = {"open": False, "state": {"$ne": SCHEDULED}}
_WITHOUT_ENTRIES = {"entries": 0}
_RETURNED = dict.fromkeys(("outcome_stamp", "result", "result_form", *records.STORED), 1)
_SHOWN = ("stamp", "name", "queue", "parent_id", "group_id")
_WITHOUT_MESSAGES = {
    "other_root": 0,
    **{name: 0 for name in ("entries", *Message._fields) if name not in _SHOWN},
}


class MongoResults:
    """`ResultStorage`, `JoiningStorage`, `RecountingStorage` and `GroupsStorage`."""

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
        ids, database = [*task_ids], self._prepared()
        found: list[Document] = []
        for start in range(0, len(ids), _MOST_IDS):
            portion = ids[start : start + _MOST_IDS]
            found += database.read(partial(_found, ids=portion, asked=asked, fields=fields))
        return found

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

    def restore_groups(self, group_ids: Collection[str]) -> dict[str, bytes]:
        asked = _ids(group_ids)
        found = self._prepared().run(lambda handle: [*handle.groups.find(asked)])
        return {document["_id"]: bytes(document["value"]) for document in found}

    def delete_group(self, group_id: str) -> None:
        self._prepared().run(lambda handle: handle.groups.delete_one({"_id": group_id}))

    def delete_groups(self, group_ids: Collection[str]) -> None:
        asked = _ids(group_ids)
        self._prepared().run(lambda handle: handle.groups.delete_many(asked))

    def begin_chord(
        self, chord_id: str, size: int | None, body: str, expire_at: datetime | None
    ) -> int:
        known = chord_id, size, body, expire_at or _NEVER
        return self._prepared().run(lambda handle: chords.begin(handle, *known))

    def set_chord_size(self, chord_id: str, size: int, expire_at: datetime | None) -> None:
        known = chord_id, size, expire_at or _NEVER
        self._prepared().run(lambda handle: chords.note_size(handle, *known))

    def add_to_chord(self, chord_id: str, added: str, expire_at: datetime | None) -> None:
        known = chord_id, added, expire_at or _NEVER
        self._prepared().run(lambda handle: chords.add(handle, *known))

    def join_chord(
        self,
        chord_id: str,
        member: str,
        size: int | None,
        expire_at: datetime | None,
        *,
        call: str | None = None,
    ) -> bool:
        joining = Joining(chord_id, member, size, expire_at or _NEVER, call or uuid4().hex)
        database = self._prepared()
        with joining.uncertain():
            is_last = database.run(lambda handle: twice(handle, lambda: joining.join(handle)))
        _settle(database, joining)
        return is_last

    def write_and_join(
        self,
        event: TaskRecord,
        chord_id: str,
        member: str,
        size: int | None,
        expire_at: datetime | None,
        *,
        call: str | None = None,
    ) -> tuple[list[str], bool]:
        joining = Joining(chord_id, member, size, expire_at or _NEVER, call or uuid4().hex)

        def one_after_the_other(handle: Handle) -> tuple[list[str], bool]:
            return writing.write(handle, [event]), joining.join(handle)

        database = self._prepared()
        with joining.uncertain():
            done = database.at_once(_write_and_join, (event, joining))
            if done is None:
                do = lambda handle: twice(handle, lambda: one_after_the_other(handle))  # noqa: E731
                done = database.run(do)
        _settle(database, joining)
        return done

    def get_members(self, chord_id: str) -> list[str]:
        return self._prepared().read(lambda handle: chord_members.names(handle, chord_id))

    def close_chord(self, chord_id: str, call: str) -> None:
        self._prepared().run(lambda handle: chords.close(handle, chord_id, call))

    def take_complete_chords(self, before: datetime, call: str, limit: int) -> list[CompleteChord]:
        known = before, call, limit
        return self._prepared().run(lambda handle: chords.take_complete(handle, *known))

    def take_quiet_chords(self, before: datetime, limit: int) -> list[QuietChord]:
        return self._prepared().run(lambda handle: chords.take_quiet(handle, before, limit))

    def find_ended_members(self, chord_id: str) -> list[str]:
        asked = {"group_id": chord_id, "state": {"$in": [SUCCESS, FAILURE]}}
        return self._prepared().read(
            lambda handle: [each["_id"] for each in handle.results.find(asked, {"_id": 1})]
        )

    def forget_chord(self, chord_id: str) -> None:
        self._prepared().run(lambda handle: chords.forget(handle, chord_id))


def _ids(ids: Collection[str]) -> Document:
    return {"_id": {"$in": [*ids]}}


def _found(handle: Handle, ids: list[str], asked: Document, fields: Document) -> list[Document]:
    # All in one answer, and no cursor stays behind.
    size = len(ids) + 1
    return [*handle.results.find({"_id": {"$in": ids}, **asked}, fields, batch_size=size)]


def _settle(database: Database, joining: Joining) -> None:
    """Where it fails, one of the next members does it."""
    if joining.is_due:
        with suppress(StorageError):
            database.run_once(lambda handle: chord_members.settle(handle, joining.chord_id))


def _write_and_join(
    handle: Handle, both: tuple[TaskRecord, Joining]
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
