"""Writes events into documents: one by one, in batches, and cut if they are too large."""

from __future__ import annotations

from collections.abc import Sequence

import bson
from pymongo import ReadPreference, UpdateOne
from pymongo.collection import Collection
from pymongo.errors import (
    BulkWriteError,
    DocumentTooLarge,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
)

from fullresult.record import FIRST, Attempt, TaskRecord, fold, merge
from fullresult.storage import may_wait
from fullresult_storage_mongo import merging, records
from fullresult_storage_mongo.clients import Document, Handle
from fullresult_storage_mongo.database import TOO_LARGE, again, is_too_large, twice
from fullresult_storage_mongo.held_connections import Command
from fullresult_storage_mongo.records import EventParts, parts_of
from fullresult_storage_mongo.too_large import fit

_LARGE = 4 * 1024 * 1024
"""Bytes of an event from which it is written alone: one command takes 48 MB."""
_DUPLICATE = 11000
_WRONG = frozenset({"writeErrors", "writeConcernError"})
_STAMPS = (
    *("outcome_stamp", "message_stamp", "start_stamp", "stored_stamp"),
    *("resent", "again_stamp", "own_stamp"),
)


def write(handle: Handle, events: Sequence[TaskRecord]) -> list[str]:
    """Merge *events*. The ids of those whose record has no message. Raises PyMongo's errors."""
    merge_all(handle, events)
    return _without_message(handle, events)


def write_at_once(handle: Handle, event: TaskRecord) -> list[str] | None:
    """The same for one event by one command; None if that did not do it, as with few events.

    The command leaves out the session that keeps a write from being done twice: a merge may be, and
    the session is a third of the server's work.
    """
    concern = handle.relaxed_concern if may_wait(event) else handle.concern
    return write_on(handle.lines.command, handle, event, concern)


def write_on(
    send: Command, handle: Handle, event: TaskRecord, concern: Document
) -> list[str] | None:
    """The same with a given way to send the command, and a given write concern."""
    part, name = parts_of(event), handle.tasks.name
    if _is_new(part):
        command: Document = {"insert": name, "documents": [records.document(part)]}
    else:
        known: Document = {"_id": part.task_id}
        if part.message is None:
            known["message_stamp"] = {"$gt": ""}
            known["again_stamp"] = None
        usual = merging.usual(part)
        if usual is not None:
            known |= usual[0]
        change = merging.pipeline(part) if usual is None else usual[1]
        update = {"q": known, "u": change, "upsert": True}
        command = {"update": name, "updates": [update]}
    command["writeConcern"] = concern
    try:
        answer = send(command)
    except DocumentTooLarge:
        return None
    except OperationFailure as error:
        if error.timeout:
            raise
        return None
    if answer.get("n") != 1 or not _WRONG.isdisjoint(answer):
        # There is a record, or one without a message, or since a moment ago.
        return None
    return [part.task_id] if part.message is None and "upserted" in answer else []


def merge_all(handle: Handle, events: Sequence[TaskRecord]) -> None:
    """Merge *events*. Raises PyMongo's errors."""
    if len(events) == 1:
        twice(handle, lambda: _merge_one(handle, events[0]))
    elif events:
        _merge_many(handle, fold(events))


def rewrite(handle: Handle, events: Sequence[TaskRecord]) -> None:
    """Merge *events* in this process instead of the server, cut to what a document holds."""
    for event in events:
        while not _rewritten(handle, event):
            pass


def checked(event: TaskRecord) -> int:
    """The bytes of *event* as BSON. Raises BSON's errors for what it cannot hold."""
    return len(bson.encode(records.document(parts_of(event))))


def _merge_one(handle: Handle, event: TaskRecord) -> None:
    tasks = handle.relaxed if may_wait(event) else handle.tasks
    known, update = {"_id": event.task_id}, merging.pipeline(parts_of(event))
    try:
        again(lambda: tasks.update_one(known, update, upsert=True))
    except (PyMongoError, DocumentTooLarge) as error:
        if not is_too_large(error):
            raise
        rewrite(handle, [event])


def _is_new(parts: EventParts) -> bool:
    """True if *parts* is the publish of a first attempt: most likely the task's first event."""
    if parts.message is None or parts.outcome is None or parts.entries:
        return False
    return Attempt.in_stamp(parts.outcome["outcome_stamp"]) == FIRST


def _merge_many(handle: Handle, events: Sequence[TaskRecord]) -> None:
    sizes = [checked(event) for event in events]  # before any is sent: all, or none if one is odd
    large = [event for event, size in zip(events, sizes, strict=True) if size > _LARGE]
    batch = [event for event, size in zip(events, sizes, strict=True) if size <= _LARGE]
    wait = not all(map(may_wait, events))
    tasks = handle.tasks if wait else handle.relaxed
    twice(handle, lambda: _write_batch(handle, tasks, batch))
    for event in large:
        merge_all(handle, [event])


def _write_batch(handle: Handle, tasks: Collection[Document], events: Sequence[TaskRecord]) -> None:
    left = list(events)
    while left:
        try:
            tasks.bulk_write(list(map(_update, left)), ordered=False)
        except BulkWriteError as error:
            left = _left_of(handle, left, error)
        else:
            return


def _left_of(
    handle: Handle, events: Sequence[TaskRecord], error: BulkWriteError
) -> list[TaskRecord]:
    """The events to be written again: another process made the record, or it would be too large."""
    failed = error.details.get("writeErrors", ())
    if not failed:
        raise error  # written, but not as safely as asked
    large = [events[each["index"]] for each in failed if each["code"] in TOO_LARGE]
    rewrite(handle, large)
    duplicate = [events[each["index"]] for each in failed if each["code"] == _DUPLICATE]
    if len(large) + len(duplicate) < len(failed):
        raise error
    return duplicate


def _update(event: TaskRecord) -> UpdateOne:
    part = parts_of(event)
    return UpdateOne({"_id": part.task_id}, merging.pipeline(part), upsert=True)


def _without_message(handle: Handle, events: Sequence[TaskRecord]) -> list[str]:
    ids = [event.task_id for event in events if event.message is None]
    if not ids:
        return []
    tasks = handle.tasks.with_options(read_preference=ReadPreference.PRIMARY)
    lacking = [{"message_stamp": None}, {"again_stamp": {"$gt": ""}}]
    asked = {"_id": {"$in": ids}, "$or": lacking}
    return twice(handle, lambda: [each["_id"] for each in tasks.find(asked, {"_id": 1})])


def _rewritten(handle: Handle, event: TaskRecord) -> bool:
    """True unless the record changed meanwhile, and has to be read again."""
    tasks = handle.tasks.with_options(read_preference=ReadPreference.PRIMARY)
    found = tasks.find_one({"_id": event.task_id})
    merged = merge(records.record(found), event) if found else event
    document = records.document(parts_of(fit(merged)))
    as_it_was: Document = {"_id": event.task_id}
    if found:
        as_it_was |= {stamp: found.get(stamp) for stamp in _STAMPS}
        as_it_was["$expr"] = {"$eq": [_COUNT, len(found.get("entries") or ())]}
        answer = tasks.update_one(as_it_was, merging.instead(document))
        return answer.matched_count == 1
    try:
        tasks.insert_one(document)
    except DuplicateKeyError:
        return False
    return True


_COUNT = {"$size": {"$objectToArray": {"$ifNull": ["$entries", {}]}}}
