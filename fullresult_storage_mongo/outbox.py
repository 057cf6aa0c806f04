"""Changes of a schedule and its event: both or neither, on any server, without transactions.

One write changes the schedule and puts its events beside it. Then the events are merged, and then
the schedule is freed of them, or deleted. If the process dies in between, a sweeper goes on:
merging twice is merging once. No lock is held meanwhile, as a transaction would hold one for up to
a minute.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TypeVar
from uuid import uuid4

import bson
from pymongo import UpdateOne
from pymongo.errors import DocumentTooLarge, PyMongoError

from fullresult.record import Schedule, TaskRecord
from fullresult.storage import Refused, StorageError, Uncertain
from fullresult_storage_mongo import records, writing
from fullresult_storage_mongo.clients import RELAXED, Document, Handle
from fullresult_storage_mongo.database import (
    Database,
    again,
    is_lost,
    is_refusal,
    is_too_large,
    schedules,
    twice,
)
from fullresult_storage_mongo.records import ARRIVING, CLAIMED, CLOSING, WAITING, parts_of

T = TypeVar("T")

_MEND_EVERY = 10.0
_PATIENCE = 2
"""After this many timeouts a change is taken for abandoned, and a sweeper goes on with it."""
_LONGEST = 60.0
_FREE: Document = {"$unset": {"pending": 1, "pending_since": 1}}


class Outbox:
    """Changes of schedules and events, both or neither. Each raises `StorageError`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._mended = 0.0

    def schedule(self, schedule: Schedule, event: TaskRecord) -> None:
        """`Storage.schedule`."""
        known: Document = {"_id": schedule.schedule_id}

        def keep(handle: Handle) -> None:
            try:
                insert(handle, event)
            except DocumentTooLarge:
                # The schedule has the body: the pending event, merged only if we die, goes without.
                insert(handle, replace(event, message=None))

        def insert(handle: Handle, event: TaskRecord) -> None:
            whole = {**records.schedule_document(schedule), **_pending(event), "status": ARRIVING}
            again(lambda: handle.schedules.update_one(known, {"$setOnInsert": whole}, upsert=True))

        def arrive(handle: Handle) -> None:
            try:
                writing.merge_all(handle, [event])
            except PyMongoError as error:
                if is_refusal(error):
                    _finish(handle, schedule.schedule_id, ARRIVING, refused=True)
                raise
            _finish(handle, schedule.schedule_id, ARRIVING)

        try:
            self._database.run(keep)
        except StorageError as error:
            if error.__cause__ and is_lost(error.__cause__):
                raise Uncertain(str(error)) from error
            raise
        self._afterwards(arrive)

    def schedule_all(self, some: Sequence[tuple[Schedule, TaskRecord]]) -> None:
        """`schedule` for each, by few commands; if one of them is refused, one by one."""
        ids = [schedule.schedule_id for schedule, _ in some]

        def keep(handle: Handle) -> None:
            kept = []
            for schedule, event in some:
                whole = {**records.schedule_document(schedule), **_pending(event)}
                made = {"$setOnInsert": {**whole, "status": ARRIVING}}
                kept.append(UpdateOne({"_id": schedule.schedule_id}, made, upsert=True))
            again(lambda: handle.schedules.bulk_write(kept, ordered=False))
            writing.merge_all(handle, [event for _, event in some])
            arrived = {"_id": {"$in": ids}, "status": ARRIVING}
            # Relaxed: if the write is lost, a sweeper does it again.
            relaxed = handle.schedules.with_options(write_concern=RELAXED)
            relaxed.update_many(arrived, {"$set": {"status": WAITING}, **_FREE})

        if not some:
            return
        try:
            self._database.run(keep)
        except StorageError as error:
            if not isinstance(error, Refused) and not is_too_large(error.__cause__ or error):
                raise
            for schedule, event in some:
                self.schedule(schedule, event)

    def change(
        self,
        schedule_id: str,
        changes: Document | None,
        event: TaskRecord,
        due: datetime | None = None,
    ) -> bool:
        """Set *changes* in a schedule that waits, or delete it, and merge *event*.

        With *due*, only if it is due then.
        """
        token = uuid4().hex
        as_it_was: Document = {"status": WAITING, **({} if due is None else {"due": due})}
        waiting = {"_id": schedule_id, "$or": [as_it_was, {"token": token}]}
        changed = {"status": CLOSING} if changes is None else changes

        def both(handle: Handle) -> bool:
            update = {"$set": {**changed, **_pending(event), "token": token}}
            change = partial(handle.schedules.update_one, waiting, update)
            if not twice(handle, change).matched_count:
                return False
            writing.merge_all(handle, [event])
            _finish(handle, schedule_id, CLOSING if changes is None else WAITING)
            return True

        return self._database.run_once(both)

    def mark_sent(
        self, claim: str, schedule_ids: Collection[str], events: Sequence[TaskRecord]
    ) -> list[str]:
        """`Storage.mark_sent`."""
        # Closed first: a schedule that was sent is never seen to wait, even if we die in between.
        mine: Document = {
            "_id": {"$in": [*schedule_ids]},
            "status": {"$in": [CLAIMED, CLOSING]},  # closed by a call whose answer did not come
            "claim": claim,
        }

        def both(handle: Handle) -> list[str]:
            for event in events:
                writing.checked(event)
            found = schedules(handle, mine, ["task_id", "new_task_id"])
            if found:
                twice(handle, lambda: _close(handle, mine, found, events))
            try:
                writing.merge_all(handle, events)
            except PyMongoError as error:
                if is_refusal(error):
                    handle.schedules.update_many(mine, {"$set": {"status": CLAIMED}, **_FREE})
                raise
            return twice(handle, lambda: _gone(handle, mine, [each["_id"] for each in found]))

        return self._database.run_once(both)

    def mend(self, handle: Handle) -> None:
        """Finish changes that others left half done. Raises PyMongo's errors."""
        if time.monotonic() - self._mended < _MEND_EVERY:
            return
        self._mended = time.monotonic()
        patience = min(_PATIENCE * (self._database.timeout or _LONGEST), _LONGEST)
        before = _now() - timedelta(seconds=patience)
        for found in schedules(handle, {"pending_since": {"$lt": before}}):
            refused = False
            try:
                for pending in found["pending"]:
                    writing.merge_all(handle, [of_bytes(pending)])
            except PyMongoError as error:
                if not is_refusal(error):
                    raise
                refused = True  # and whoever wrote it was told so
            _finish(handle, found["_id"], found["status"], refused=refused)

    def _afterwards(self, do: Callable[[Handle], None]) -> None:
        try:
            self._database.run(do)
        except StorageError as error:
            if isinstance(error, Refused):
                raise
            raise Uncertain(f"{error}; the schedule will be kept") from error


def _close(
    handle: Handle, mine: Document, found: Sequence[Document], events: Sequence[TaskRecord]
) -> None:
    # The body of a task that goes on under a new id is told again by the worker that runs it.
    of_task = {event.task_id: replace(event, message=None) for event in events}
    closed = []
    for each in found:
        ids = (each["task_id"], each.get("new_task_id"))
        pending = _pending(*(of_task[task_id] for task_id in ids if task_id in of_task))
        update = {"$set": {"status": CLOSING, **pending}}
        closed.append(UpdateOne({**mine, "_id": each["_id"]}, update))
    # As safe as the write that follows.
    handle.schedules.with_options(write_concern=RELAXED).bulk_write(closed, ordered=False)


def _gone(handle: Handle, mine: Document, ids: Sequence[str]) -> list[str]:
    """The ids among *ids* that *mine* finds; their schedules are deleted."""
    if not ids:
        return []
    named = {"_id": {"$in": ids}}
    deleted = handle.schedules.delete_many({**mine, **named}).deleted_count
    left = {*_ids(handle, named)} if deleted < len(ids) else set()
    return [schedule_id for schedule_id in ids if schedule_id not in left]


def _finish(handle: Handle, schedule_id: str, status: str, *, refused: bool = False) -> None:
    """The pending events of a schedule of this *status* are merged, or cannot be."""
    known: Document = {"_id": schedule_id, "status": status}
    # Relaxed: if the write is lost, a sweeper does it again.
    kept = handle.schedules.with_options(write_concern=RELAXED)
    if status == CLOSING or (status == ARRIVING and refused):
        twice(handle, lambda: kept.delete_one(known))
    elif status == ARRIVING:
        twice(handle, lambda: kept.update_one(known, {"$set": {"status": WAITING}, **_FREE}))
    else:
        twice(handle, lambda: kept.update_one(known, _FREE))


def _pending(*events: TaskRecord) -> Document:
    return {"pending": [*map(as_bytes, events)], "pending_since": _now()}


def as_bytes(event: TaskRecord) -> bytes:
    """*event* to be kept beside something: an update takes keys with a dollar for operators."""
    return bson.encode(records.document(parts_of(event)))


def of_bytes(pending: bytes) -> TaskRecord:
    return records.record(bson.decode(pending, _OPTIONS))


def _ids(handle: Handle, asked: Document) -> list[str]:
    return [each["_id"] for each in schedules(handle, asked, ["_id"])]


def _now() -> datetime:
    return datetime.now(timezone.utc)


_OPTIONS = bson.CodecOptions[Document](tz_aware=True, tzinfo=timezone.utc)
