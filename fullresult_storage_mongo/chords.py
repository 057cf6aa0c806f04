"""Chords: which members have ended and how many are missing, in one document for each chord."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError

from fullresult.storage import CompleteChord, Refused, StorageError, Uncertain
from fullresult_storage_mongo.clients import Document, Handle
from fullresult_storage_mongo.database import again, is_lost
from fullresult_storage_mongo.held_connections import Command

_TRIES = 20
_UNKNOWN = 2**40
"""The size of a chord of which none is known: it is never complete."""
_IS_COMPLETE = {"$lte": [{"$ifNull": ["$left", _UNKNOWN]}, 0]}
_COUNTED: Document = {
    "left": {
        "$subtract": [
            {"$add": [{"$ifNull": ["$size", _UNKNOWN]}, "$added"]},
            "$joined",
        ]
    }
}
COMPLETE: Document = {"open": True, "left": {"$lte": 0}}
"""Those whose body is not known to be sent; an index has no others."""


def begin(handle: Handle, chord_id: str, size: int | None, body: str, expire_at: datetime) -> int:
    """`ResultStorage.begin_chord`."""

    def unless_complete(field: str, value: Any, first: Any) -> Document:
        """*value* for the next run of a complete chord, *first* for a new one."""
        return {"$cond": [_IS_COMPLETE, value, {"$ifNull": [f"${field}", first]}]}

    known = {
        "run": unless_complete("run", {"$add": ["$run", 1]}, 1),
        "joined": unless_complete("joined", 0, 0),
        "added": unless_complete("added", 0, 0),
        "last_call": unless_complete("last_call", "", ""),
        "size": unless_complete("size", None, None) if size is None else size,
        "members": {"$ifNull": ["$members", []]},
        "body": {"$literal": body},
        "open": True,
        "joined_at": "$$NOW",
        "expire_at": {"$max": ["$expire_at", expire_at]},
    }
    return int(_note(handle, {"_id": chord_id}, known)["run"])


def note_size(
    handle: Handle, chord_id: str, size: int | Document | None, expire_at: datetime
) -> None:
    """`ResultStorage.set_chord_size`; without a size, only that there is such a chord."""
    known = {
        "run": {"$ifNull": ["$run", 1]},
        "joined": {"$ifNull": ["$joined", 0]},
        "added": {"$ifNull": ["$added", 0]},
        "last_call": {"$ifNull": ["$last_call", ""]},
        "size": {"$cond": [_IS_COMPLETE, "$size", {"$max": ["$size", size]}]},
        "members": {"$ifNull": ["$members", []]},
        "open": {"$ifNull": ["$open", True]},
        "joined_at": {"$ifNull": ["$joined_at", "$$NOW"]},
        "expire_at": {"$max": ["$expire_at", expire_at]},
    }
    _note(handle, {"_id": chord_id}, known)


def _note(handle: Handle, which: Document, known: Document) -> Document:
    found = again(
        lambda: handle.chords.find_one_and_update(
            which,
            [{"$set": known}, {"$set": _COUNTED}],
            {"run": 1},
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
    )
    assert found is not None
    return found


def add(handle: Handle, chord_id: str, added: str, expire_at: datetime) -> None:
    """`ResultStorage.add_to_chord`."""
    note_size(handle, chord_id, {"$ifNull": ["$size", None]}, expire_at)
    handle.chords.update_one(
        {"_id": chord_id, "members": {"$ne": added}, "left": {"$gt": 0}},
        {"$push": {"members": added}, "$inc": {"added": 1, "left": 1}},
    )


def members(handle: Handle, chord_id: str) -> list[str]:
    """`ResultStorage.get_members`."""
    found = handle.chords.find_one({"_id": chord_id}, {"members": 1}) or {}
    return [*found.get("members", ())]


def close(handle: Handle, chord_id: str, call: str) -> None:
    """`ResultStorage.close_chord`."""
    handle.chords.update_one({"_id": chord_id, "last_call": call}, {"$set": {"open": False}})


def take_complete(handle: Handle, before: datetime, call: str, limit: int) -> list[CompleteChord]:
    """`ResultStorage.take_complete_chords`."""
    taken = []
    for _ in range(limit):
        found = handle.chords.find_one_and_update(
            {**COMPLETE, "joined_at": {"$lte": before}, "last_call": {"$ne": call}},
            {"$set": {"last_call": call}, "$currentDate": {"joined_at": True}},
            {"run": 1, "body": 1},
            sort=[("joined_at", 1)],
        )
        if found is None:
            break
        taken.append(CompleteChord(found["_id"], found["run"], found.get("body") or ""))
    return taken


class Joining:
    """A member that joins a chord: one command, on the document that has all members."""

    def __init__(
        self, chord_id: str, member: str, size: int | None, expire_at: datetime, call: str
    ) -> None:
        self.may_be_done = False
        """True once an answer was lost."""
        self._chord_id, self._size, self._expire_at = chord_id, size, expire_at
        self._member, self._call = member, call
        self._missing = {"_id": chord_id, "members": {"$ne": member}, "left": {"$gt": 0}}
        self._update: Document = {
            "$push": {"members": member},
            "$inc": {"joined": 1, "left": -1},
            "$set": {"last_call": call},
            "$currentDate": {"joined_at": True},
            "$max": {"expire_at": expire_at},
        }

    @contextmanager
    def uncertain(self) -> Iterator[None]:
        """Raises `Uncertain` for a `StorageError` after which it may be done."""
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
        """The same by one command; None where it takes more, or may not be safe yet."""
        self.may_be_done = True
        try:
            answer = send(
                {
                    "findAndModify": handle.chords.name,
                    "query": self._missing,
                    "update": self._update,
                    "fields": {"left": 1, "size": 1},
                    "new": True,
                    "writeConcern": handle.concern,
                }
            )
        except OperationFailure as error:
            if error.timeout:
                raise
            return None
        found = answer["value"]
        if "writeConcernError" in answer or found is None:
            return None
        if found["size"] is None and self._size is not None:
            return None
        return bool(found["left"] == 0)

    def _join(self, handle: Handle) -> bool:
        for _ in range(_TRIES):
            found = handle.chords.find_one_and_update(
                self._missing,
                self._update,
                {"left": 1, "size": 1},
                return_document=ReturnDocument.AFTER,
            )
            if found is None:
                known = handle.chords.find_one({"_id": self._chord_id}, {"left": 1, "last_call": 1})
                if known is None or "left" not in known:
                    size = {"$ifNull": ["$size", self._size]}
                    note_size(handle, self._chord_id, size, self._expire_at)
                    continue
                return bool(known["left"] <= 0 and known["last_call"] == self._call)
            if found["size"] is None and self._size is not None:
                return self._tell_size(handle, self._size)
            return bool(found["left"] == 0)
        raise DuplicateKeyError("others make and forget this chord all the time")

    def _tell_size(self, handle: Handle, size: int) -> bool:
        """Note the size of a chord of which none was known; True if that completes it."""
        found = handle.chords.find_one_and_update(
            {"_id": self._chord_id, "size": None},
            [{"$set": {"size": size, "last_call": self._call}}, {"$set": _COUNTED}],
            {"left": 1},
            return_document=ReturnDocument.AFTER,
        )
        return found is not None and bool(found["left"] == 0)
