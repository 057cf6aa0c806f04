"""Chords: how many members have ended and how many are missing, in one document for each chord."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import uuid4

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError, OperationFailure, PyMongoError

from fullresult.storage import CompleteChord, QuietChord, Refused, StorageError, Uncertain
from fullresult_storage_mongo import chord_members
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
_NEW: Document = {
    "members": {"$ifNull": ["$members", []]},
    "moved": {"$ifNull": ["$moved", 0]},
}
COMPLETE: Document = {"open": True, "left": {"$lte": 0}}
"""Those whose body is not known to be sent; an index has no others."""
LOOKED_AT: Document = {"look_at": {"$exists": True}}
"""Those that are looked at from time to time; an index has no others.

No member that joins writes these fields: the index costs nothing while a chord runs.
"""
_SOON, _SELDOM = 10_000, 3_600_000
"""Milliseconds by which a quiet chord is looked at later: the first time, and at most."""


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
        "body": {"$literal": body},
        "open": True,
        "joined_at": "$$NOW",
        "look_at": "$$NOW",
        "looked": 0,
        "pause": 0,
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
        "open": {"$ifNull": ["$open", True]},
        "joined_at": {"$ifNull": ["$joined_at", "$$NOW"]},
        "expire_at": {"$max": ["$expire_at", expire_at]},
    }
    _note(handle, {"_id": chord_id}, known)


def _note(handle: Handle, which: Document, known: Document) -> Document:
    new = {**_NEW, "birth": {"$ifNull": ["$birth", uuid4().hex]}}
    found = again(
        lambda: handle.chords.find_one_and_update(
            which,
            [{"$set": {**new, **known}}, {"$set": _COUNTED}],
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
    update = {"$push": {"members": added}, "$inc": {"added": 1, "left": 1}}
    chord_members.push(handle, chord_id, added, update)


def close(handle: Handle, chord_id: str, call: str) -> None:
    """`ResultStorage.close_chord`."""
    done = {"$set": {"open": False}, "$unset": {"look_at": ""}}
    handle.chords.update_one({"_id": chord_id, "last_call": call}, done)


def forget(handle: Handle, chord_id: str) -> None:
    """`ResultStorage.forget_chord`."""
    counts = {"joined": 0, "size": 0, "added": 0, "left": 0}
    ended = {"$set": {**counts, "last_call": "", "open": False, "body": ""}}
    handle.chords.update_one({"_id": chord_id}, {**ended, "$unset": {"look_at": ""}})


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


_LONGER = {"$min": [{"$max": [_SOON, {"$multiply": ["$pause", 1.5]}]}, _SELDOM]}
_LOOK: list[Document] = [
    {"$set": {"pause": {"$cond": [{"$eq": ["$joined", "$looked"]}, _LONGER, 0]}}},
    {
        "$set": {
            "looked": "$joined",
            "look_at": {
                "$cond": [_IS_COMPLETE, "$$REMOVE", {"$add": ["$$NOW", {"$toLong": "$pause"}]}]
            },
        }
    },
]


def take_quiet(handle: Handle, before: datetime, limit: int) -> list[QuietChord]:
    """`RecountingStorage.take_quiet_chords`."""
    asked: Document = {"look_at": {"$lte": before}}
    due = [*handle.chords.find(asked, {"look_at": 1}, sort=[("look_at", 1)], limit=limit)]
    taken = []
    for each in due:
        # Not if another took it, and wrote when it is looked at next.
        found = handle.chords.find_one_and_update(
            each,
            _LOOK,
            {"run": 1, "body": 1, "look_at": 1, "pause": 1},
            return_document=ReturnDocument.AFTER,
        )
        if found is not None and "look_at" in found and found["pause"]:
            taken.append(QuietChord(found["_id"], found["run"], found.get("body") or ""))
    return taken


class Joining:
    """A member that joins a chord: one command, or two if the chord has segments."""

    def __init__(
        self, chord_id: str, member: str, size: int | None, expire_at: datetime, call: str
    ) -> None:
        self.may_be_done = False
        """True once an answer was lost."""
        self.is_due = False
        """True if `chord_members.settle` has something to do."""
        self.chord_id, self._size, self._expire_at = chord_id, size, expire_at
        self._member, self._call = member, call
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
        """The same on one line; None where it takes more, or may not be safe yet."""
        self.may_be_done = True
        try:
            answer = self._send(send, handle)
        except OperationFailure as error:
            if error.timeout:
                raise
            return None
        found = None if answer is None else answer["value"]
        if answer is None or "writeConcernError" in answer or found is None:
            return None
        if found["size"] is None and self._size is not None:
            return None
        return self._is_last(handle, found)

    def _send(self, send: Command, handle: Handle) -> Document | None:
        """The answer of the command that counts the member; None if it is in a segment."""
        moved = handle.moves.of(self.chord_id)
        if moved.segments:
            segment = chord_members.segment_with(self._member, moved)
            one = {"filter": segment, "projection": {"_id": 1}, "limit": 1, "singleBatch": True}
            if send({"find": handle.segments.name, **one})["cursor"]["firstBatch"]:
                return None
        command = {
            "query": chord_members.lacking(self.chord_id, self._member, moved),
            "update": self._update,
            "fields": chord_members.FIELDS,
            "new": True,
            "writeConcern": handle.concern,
        }
        return send({"findAndModify": handle.chords.name, **command})

    def _join(self, handle: Handle) -> bool:
        for _ in range(_TRIES):
            found = chord_members.push(handle, self.chord_id, self._member, self._update)
            if found is not None:
                is_last = self._is_last(handle, found)
                return self._tell_size(handle) if found["size"] is None else is_last
            known = handle.chords.find_one({"_id": self.chord_id}, ("left", "last_call", "moved"))
            if known is not None and "moved" in known:
                return bool(known["left"] <= 0 and known["last_call"] == self._call)
            size = {"$ifNull": ["$size", self._size]}
            note_size(handle, self.chord_id, size, self._expire_at)
        raise DuplicateKeyError("others make and forget this chord all the time")

    def _is_last(self, handle: Handle, found: Document) -> bool:
        handle.moves.note(self.chord_id, found)
        self.is_due = chord_members.is_due(found)
        return bool(found["left"] == 0)

    def _tell_size(self, handle: Handle) -> bool:
        """Note the size of a chord of which none was known; True if that completes it."""
        if self._size is None:
            return False
        found = handle.chords.find_one_and_update(
            {"_id": self.chord_id, "size": None},
            [{"$set": {"size": self._size, "last_call": self._call}}, {"$set": _COUNTED}],
            {"left": 1},
            return_document=ReturnDocument.AFTER,
        )
        return found is not None and bool(found["left"] == 0)
