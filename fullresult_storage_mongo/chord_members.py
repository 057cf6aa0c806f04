"""The members of a chord: the newest in the chord's document, the earlier in segments of 500.

A document holds no more than 16 MB, and each write of a list costs more the longer it is. So that
a member is counted once all the same, it is counted only by a write that finds the chord with as
many segments as were searched for the member.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from fullresult_storage_mongo.clients import Document, Handle
from fullresult_storage_mongo.moves import Moved, moved_of

SEGMENT = 500
_EVERY = 50
"""New members after which it is tried again to move the first ones, if that failed."""
_TRIES = 20
_ALL = 2**31 - 1
_FROM, _TO = ":", ";"
"""Between what a segment's id begins with and its number, and the next character."""
_SLACK = timedelta(hours=1)
"""Segments outlive their chord by so much at first: they are not written with each member."""
FIELDS: Document = {
    **dict.fromkeys(("left", "size", "birth", "moved", "expire_at", "kept_until"), 1),
    "newest": {"$size": {"$ifNull": ["$members", []]}},
}
"""What `is_due` and `Moves.note` have to know of a chord."""


def lacking(chord_id: str, name: str, moved: Moved) -> Document:
    """Finds the chord if it is not complete and the member is none of its newest.

    And only if it still has the segments that were searched for the member.
    """
    found: Document = {"_id": chord_id, "members": {"$ne": name}, "left": {"$gt": 0}}
    found["moved"] = moved.segments
    return {**found, "birth": moved.birth} if moved.segments else found


def segment_with(name: str, moved: Moved) -> Document:
    """Finds the segment that has the member."""
    return {"birth": moved.birth, "members": name}


def push(handle: Handle, chord_id: str, name: str, update: Document) -> Document | None:
    """Count a member by *update*; the chord's `FIELDS` then.

    None if there is no such chord, it is complete, or has this member already.
    """
    moved: Moved | None = handle.moves.of(chord_id)
    for _ in range(_TRIES):
        if moved is not None and not _is_in(handle, name, moved):
            found = _pushed(handle, lacking(chord_id, name, moved), update)
            if found is not None:
                return found
        moved = _place(handle, chord_id, name)
        if moved is None or _is_in(handle, name, moved):
            return None
    raise DuplicateKeyError("members of this chord are moved all the time")


def _pushed(handle: Handle, asked: Document, update: Document) -> Document | None:
    after = ReturnDocument.AFTER
    return handle.chords.find_one_and_update(asked, update, FIELDS, return_document=after)


def _place(handle: Handle, chord_id: str, name: str) -> Moved | None:
    known = {"$in": [{"$literal": name}, {"$ifNull": ["$members", []]}]}
    found = handle.chords.find_one({"_id": chord_id}, {**FIELDS, "known": known})
    if found is None or "moved" not in found or found["left"] <= 0 or found["known"]:
        return None
    return moved_of(found)


def _of(birth: str) -> Document:
    """Finds all segments of a chord, by their ids."""
    return {"_id": {"$gte": birth + _FROM, "$lt": birth + _TO}}


def _is_in(handle: Handle, name: str, moved: Moved) -> bool:
    if not moved.segments:
        return False
    return handle.segments.find_one(segment_with(name, moved), {"_id": 1}) is not None


def is_due(found: Document) -> bool:
    """True if `settle` has something to do."""
    if found["left"] <= 0:
        return False
    is_full = found["newest"] >= SEGMENT and found["newest"] % _EVERY == 0
    return is_full or bool(found["moved"] and found["expire_at"] > found["kept_until"])


def settle(handle: Handle, chord_id: str) -> None:
    """Move the first members into a segment, if they are many; keep segments as long as the chord.

    Several may do so at once: the first members are the same for each, and so is their segment.
    """
    chord = handle.chords.find_one({"_id": chord_id})
    if chord is None:
        return
    until = chord["expire_at"] + _SLACK
    if chord["moved"] and chord["expire_at"] > chord["kept_until"]:
        handle.segments.update_many(_of(chord["birth"]), {"$max": {"expire_at": until}})
        known = {"_id": chord_id, "birth": chord["birth"]}
        handle.chords.update_one(known, {"$max": {"kept_until": until}})
    if len(chord["members"]) >= SEGMENT:
        _move(handle, chord, until)


def _move(handle: Handle, chord: Document, until: object) -> None:
    known = {name: chord[name] for name in ("_id", "birth", "moved")}
    segment = {
        "chord_id": chord["_id"],
        "birth": chord["birth"],
        "members": chord["members"][:SEGMENT],
    }
    with suppress(DuplicateKeyError):  # another did so at this moment
        handle.segments.update_one(
            {"_id": f"{chord['birth']}{_FROM}{chord['moved']}"},
            {"$setOnInsert": segment, "$max": {"expire_at": until}},
            upsert=True,
        )
    rest: Document = {
        "members": {"$slice": ["$members", SEGMENT, _ALL]},
        "moved": chord["moved"] + 1,
        "kept_until": {"$max": ["$kept_until", until]},
    }
    handle.chords.update_one(known, [{"$set": rest}])


def names(handle: Handle, chord_id: str) -> list[str]:
    """All of them, each once."""
    fields = dict.fromkeys(("members", "birth", "moved"), 1)
    chord = handle.chords.find_one({"_id": chord_id}, fields) or {}
    known = dict.fromkeys(chord.get("members", ()))
    if chord.get("moved"):
        for segment in handle.segments.find(_of(chord["birth"]), {"members": 1}):
            known.update(dict.fromkeys(segment["members"]))
    return [*known]
