"""Schedules and events changed together in transactions: on replica sets and sharded clusters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, TypeVar

from fullresult.record import TaskRecord
from fullresult.schedule import Schedule
from fullresult.storage import Refused
from fullresult_storage_mongo import records, writing
from fullresult_storage_mongo.clients import Document, Handle
from fullresult_storage_mongo.database import Database, is_too_large
from fullresult_storage_mongo.outbox import Outbox
from fullresult_storage_mongo.records import WAITING

if TYPE_CHECKING:
    from pymongo.client_session import ClientSession

T = TypeVar("T")
Merge = Callable[[Handle, Sequence[TaskRecord], "ClientSession"], None]


class Transactions:
    """What `storage.Together` says."""

    def __init__(self, database: Database, outbox: Outbox) -> None:
        self._database = database
        self._outbox = outbox

    def schedule(self, schedule: Schedule, event: TaskRecord) -> None:
        document = records.schedule_document(schedule)

        def both(handle: Handle, session: ClientSession, merge: Merge) -> None:
            handle.schedules.update_one(
                {"_id": schedule.schedule_id},
                {"$setOnInsert": document},
                upsert=True,
                session=session,
            )
            merge(handle, [event], session)

        self._together(both)

    def change(self, schedule_id: str, changes: Document | None, event: TaskRecord) -> bool:
        waiting = {"_id": schedule_id, "status": WAITING}

        def both(handle: Handle, session: ClientSession, merge: Merge) -> bool:
            if changes is None:
                found = handle.schedules.delete_one(waiting, session=session).deleted_count
            else:
                update = {"$set": changes}
                found = handle.schedules.update_one(waiting, update, session=session).matched_count
            if found:
                merge(handle, [event], session)
            return bool(found)

        return self._together(both)

    def mark_sent(
        self, claim: str, schedule_ids: Collection[str], events: Sequence[TaskRecord]
    ) -> list[str]:
        # Not in a transaction. A sweeper killed in one would keep everybody from these tasks for
        # more than a minute, until the server ends it; and their workers are already at them.
        return self._outbox.mark_sent(claim, schedule_ids, events)

    def mend(self, handle: Handle) -> None:
        self._outbox.mend(handle)

    def _together(self, both: Callable[[Handle, ClientSession, Merge], T]) -> T:
        def run(merge: Merge) -> T:
            return self._database.transaction(lambda handle, session: both(handle, session, merge))

        try:
            return run(writing.merge_in)
        except Refused as error:
            if not (error.__cause__ and is_too_large(error.__cause__)):
                raise
        return run(writing.rewrite)
