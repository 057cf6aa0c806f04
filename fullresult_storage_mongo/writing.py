"""Events into documents: one by one, in batches, and such as would be too large."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import bson
from pymongo import ReadPreference, UpdateOne
from pymongo.collection import Collection
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    DocumentTooLarge,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
)

from fullresult.events import FIRST, Attempt, fold, merge
from fullresult.record import TaskRecord
from fullresult_storage_mongo import merging, records
from fullresult_storage_mongo.clients import Document, Handle
from fullresult_storage_mongo.database import TOO_LARGE, again, is_too_large
from fullresult_storage_mongo.fitting import fit
from fullresult_storage_mongo.records import Told, told

if TYPE_CHECKING:
    from pymongo.client_session import ClientSession

T = TypeVar("T")

_LARGE = 4 * 1024 * 1024
"""Bytes of an event that goes alone: a command takes 48 MB."""
_DUPLICATE = 11000
_WRONG = frozenset({"writeErrors", "writeConcernError"})
_STAMPS = ("outcome_stamp", "message_stamp", "start_stamp", "stored_stamp")


def write(handle: Handle, events: Sequence[TaskRecord]) -> list[str]:
    """Merge *events*; the ids of those whose record has no message. Raises PyMongo's errors."""
    if len(events) == 1:
        return twice(lambda: _write_one(handle, events[0]))
    return _write_all(handle, fold(events)) if events else []


def merge_in(handle: Handle, events: Sequence[TaskRecord], session: ClientSession) -> None:
    """Merge *events* as a part of a transaction."""
    for event in events:
        checked(event)
    if events:
        handle.tasks.bulk_write(list(map(_update, events)), ordered=True, session=session)


def rewrite(
    handle: Handle, events: Sequence[TaskRecord], session: ClientSession | None = None
) -> None:
    """Merge *events* here, not on the server, leaving out what would be too much."""
    for event in events:
        while not _rewritten(handle, event, session):
            pass


def checked(event: TaskRecord) -> int:
    """How many bytes *event* is. Raises what BSON does for what it cannot hold."""
    return len(bson.encode(records.document(told(event))))


def _write_one(handle: Handle, event: TaskRecord) -> list[str]:
    tasks = handle.relaxed if records.may_wait(event) else handle.tasks
    try:
        return _lacking(tasks, told(event))
    except (PyMongoError, DocumentTooLarge) as error:
        if not is_too_large(error):
            raise
    rewrite(handle, [event])
    return _without_message(handle, [event])


def _lacking(tasks: Collection[Document], part: Told) -> list[str]:
    """One command where the record has a message, or is new."""
    known: Document = {"_id": part.task_id}
    if _is_new(part):
        answer = _answer(tasks, {"insert": tasks.name, "documents": [records.document(part)]})
    else:
        asked = known if part.message else {**known, "message_stamp": {"$gt": ""}}
        update = {"q": asked, "u": merging.pipeline(part), "upsert": True}
        answer = _answer(tasks, {"update": tasks.name, "updates": [update]})
    if answer is not None:
        return [part.task_id] if part.message is None and "upserted" in answer else []
    # There is a record, or one without a message, or since a moment ago; or no answer came.
    again(lambda: tasks.update_one(known, merging.pipeline(part), upsert=True))
    if part.message is not None:
        return []
    found = tasks.with_options(read_preference=ReadPreference.PRIMARY).find_one(
        known, {"message_stamp": 1}
    )
    return [] if found and found.get("message_stamp") else [part.task_id]


def _is_new(part: Told) -> bool:
    """Whether this is most likely the first that is told of a task: its publish."""
    if part.message is None or part.outcome is None or part.entries:
        return False
    return Attempt.in_stamp(part.outcome["outcome_stamp"]) == FIRST


def _answer(tasks: Collection[Document], command: Document) -> Document | None:
    """The server's to a write of one document; None where it did not do it, or may not have.

    The command goes without what a driver and a server do so that none is done twice: a merge may
    be, and that is a third of the server's work.
    """
    try:
        answer = tasks.database.command({**command, "writeConcern": tasks.write_concern.document})
    except (AutoReconnect, OperationFailure) as error:
        if error.timeout:
            raise
        return None
    except DocumentTooLarge:
        return None
    return answer if answer.get("n") == 1 and _WRONG.isdisjoint(answer) else None


def _write_all(handle: Handle, events: Sequence[TaskRecord]) -> list[str]:
    sizes = [checked(event) for event in events]  # before any is sent: all, or none if one is odd
    large = [event for event, size in zip(events, sizes, strict=True) if size > _LARGE]
    batch = [event for event, size in zip(events, sizes, strict=True) if size <= _LARGE]
    wait = not all(map(records.may_wait, events))
    tasks = handle.tasks if wait else handle.relaxed
    twice(lambda: _write_batch(handle, tasks, batch))
    lacking = [task_id for event in large for task_id in write(handle, [event])]
    return lacking + _without_message(handle, batch)


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
    """What is to be written again: somebody else made the record, or it would be too large."""
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
    part = told(event)
    return UpdateOne({"_id": part.task_id}, merging.pipeline(part), upsert=True)


def _without_message(handle: Handle, events: Sequence[TaskRecord]) -> list[str]:
    ids = [event.task_id for event in events if event.message is None]
    if not ids:
        return []
    tasks = handle.tasks.with_options(read_preference=ReadPreference.PRIMARY)
    found = tasks.find({"_id": {"$in": ids}, "message_stamp": None}, {"_id": 1})
    return [each["_id"] for each in found]


def _rewritten(handle: Handle, event: TaskRecord, session: ClientSession | None) -> bool:
    """Whether nobody else wrote the record meanwhile."""
    tasks = handle.tasks.with_options(read_preference=ReadPreference.PRIMARY)
    found = tasks.find_one({"_id": event.task_id}, session=session)
    merged = merge(records.record(found), event) if found else event
    document = records.document(told(fit(merged)))
    as_it_was: Document = {"_id": event.task_id}
    if found:
        as_it_was |= {stamp: found.get(stamp) for stamp in _STAMPS}
        as_it_was["$expr"] = {"$eq": [_COUNT, len(found.get("entries") or ())]}
        answer = tasks.update_one(as_it_was, merging.instead(document), session=session)
        return answer.matched_count == 1
    try:
        tasks.insert_one(document, session=session)
    except DuplicateKeyError:
        return False
    return True


_COUNT = {"$size": {"$objectToArray": {"$ifNull": ["$entries", {}]}}}


def twice(do: Callable[[], T]) -> T:
    """`do()`, again where a connection broke: what it does once may be done twice."""
    try:
        return do()
    except AutoReconnect as error:
        if error.timeout:
            raise
    return do()
