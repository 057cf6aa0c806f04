"""Schedules in MongoDB."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from operator import attrgetter
from uuid import uuid4

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from fullresult.record import Schedule, ScheduleQuery, TaskRecord
from fullresult_storage_mongo import queries, records
from fullresult_storage_mongo.clients import Document, Handle
from fullresult_storage_mongo.database import Database, again, twice
from fullresult_storage_mongo.database import schedules as found
from fullresult_storage_mongo.outbox import Outbox
from fullresult_storage_mongo.records import CLAIMED, WAITING, WITHDRAWN

_TRIES = 20
_FREED: Document = {"$unset": {"claim": 1, "date_claimed": 1, "problem": 1}}


class MongoSchedules:
    """The methods of `fullresult.storage.Storage` that are about schedules."""

    _outbox: Outbox

    @abstractmethod
    def _prepared(self) -> Database:
        """The database, all collections and indexes known to be there."""

    def schedule(self, schedule: Schedule, event: TaskRecord) -> None:
        self._prepared()
        self._outbox.schedule(schedule, event)

    def withdraw(self, schedule_id: str) -> None:
        self._prepared().run(lambda handle: _withdraw(handle, schedule_id))

    def claim_due(self, namespace: str, now: datetime, claim: str, limit: int) -> list[Schedule]:
        def take(handle: Handle) -> list[Schedule]:
            self._outbox.mend(handle)
            return _claim_due(handle, namespace, now, claim, limit)

        return sorted(self._prepared().run_once(take), key=attrgetter("due", "schedule_id"))

    def mark_sent(
        self, claim: str, schedule_ids: Collection[str], events: Sequence[TaskRecord]
    ) -> list[str]:
        self._prepared()
        return self._outbox.mark_sent(claim, schedule_ids, events)

    def mark_problem(self, claim: str, schedule_id: str, problem: str) -> None:
        mine = {"_id": schedule_id, "status": CLAIMED, "claim": claim}
        update = {"$set": {"problem": problem}}
        self._prepared().run(lambda handle: handle.schedules.update_one(mine, update))

    def release(self, schedule_ids: Collection[str], claim: str | None = None) -> list[str]:
        asked: Document = {"_id": {"$in": [*schedule_ids]}, "status": CLAIMED}
        if claim is not None:
            asked["claim"] = claim
        return self._prepared().run_once(lambda handle: _release(handle, asked))

    def take_over(
        self, schedule_id: str, claim: str, now: datetime, *, instead_of: str | None
    ) -> Schedule | None:
        known: Document = {"status": WAITING}
        if instead_of is not None:
            known = {"status": CLAIMED, "claim": instead_of}
        token = uuid4().hex
        asked = {"_id": schedule_id, "$or": [known, {"token": token}]}
        update = {"$set": {**records.claimed(claim, now), "token": token}, "$unset": {"problem": 1}}
        found = self._prepared().run(
            lambda handle: handle.schedules.find_one_and_update(
                asked, update, return_document=ReturnDocument.AFTER
            )
        )
        return records.schedule(found) if found else None

    def cancel(self, schedule_id: str, event: TaskRecord) -> bool:
        self._prepared()
        return self._outbox.change(schedule_id, None, event)

    def reschedule(
        self,
        schedule_id: str,
        due: datetime,
        event: TaskRecord,
        *,
        instead_of: datetime | None = None,
    ) -> bool:
        self._prepared()
        return self._outbox.change(schedule_id, {"due": due}, event, instead_of)

    def next_due(self, namespace: str) -> datetime | None:
        waiting = {"namespace": namespace, "status": WAITING}
        found = self._prepared().run(
            lambda handle: handle.schedules.find_one(waiting, {"due": 1}, sort=queries.DUE)
        )
        return found["due"] if found else None

    def find_schedules(self, query: ScheduleQuery) -> list[Schedule]:
        database = self._prepared()
        if query.limit == 0:
            return []

        def find(handle: Handle) -> list[Schedule]:
            steps = steps_to(handle, query, {"$sort": dict(queries.DUE)})
            if query.limit is not None:
                steps.append({"$limit": query.limit})
            return [*map(records.schedule, handle.schedules.aggregate(steps, allowDiskUse=True))]

        return database.read(find)

    def count_schedules(self, query: ScheduleQuery) -> int:
        def count(handle: Handle) -> int:
            steps = [*steps_to(handle, replace(query, after=None)), {"$count": "count"}]
            found = list(handle.schedules.aggregate(steps))
            return int(found[0]["count"]) if found else 0

        return self._prepared().run(count)

    def note_sweep(self, namespace: str, at: datetime) -> None:
        known, update = {"_id": namespace}, {"$max": {"at": at}}
        self._prepared().run(
            lambda handle: again(lambda: handle.sweeps.update_one(known, update, upsert=True))
        )

    def last_sweep(self, namespace: str) -> datetime | None:
        found = self._prepared().run(lambda handle: handle.sweeps.find_one({"_id": namespace}))
        return found["at"] if found else None


def steps_to(handle: Handle, query: ScheduleQuery, *sort: Document) -> list[Document]:
    """The aggregation that answers *query*."""
    steps: list[Document] = [{"$match": queries.schedules(query)}, *sort]
    tasks = queries.everything(handle, query.tasks) if query.tasks else {}
    if tasks:
        task = {
            "from": handle.tasks.name,
            "localField": "task_id",
            "foreignField": "_id",
            "pipeline": [{"$match": tasks}, {"$project": {"_id": 1}}],
            "as": "task",
        }
        steps += [{"$lookup": task}, {"$match": {"task": {"$ne": []}}}]
    return steps


def _claim_due(
    handle: Handle, namespace: str, now: datetime, claim: str, limit: int
) -> list[Schedule]:
    """Claim by three commands: find what is due, mark what is unclaimed, read what was marked."""
    # By a new id and not by the claim, which two callers might share.
    token = uuid4().hex
    update = {"$set": {**records.claimed(claim, now), "token": token}}
    waiting: Document = {"namespace": namespace, "due": {"$lte": now}, "status": WAITING}
    taken: list[Schedule] = []
    for _ in range(_TRIES):
        wanted = limit - len(taken)
        if wanted < 1:
            break
        due = found(handle, waiting, ["_id"], sort=queries.DUE, limit=wanted)
        ids = [each["_id"] for each in due]
        if not ids:
            break
        named: Document = {"_id": {"$in": ids}}
        mark = partial(handle.schedules.update_many, {**waiting, **named}, update)
        twice(handle, mark)
        mine = {**named, "status": CLAIMED, "token": token}
        taken += map(records.schedule, found(handle, mine))
        if len(ids) < wanted:
            break
    return taken


def _release(handle: Handle, asked: Document) -> list[str]:
    ids = [each["_id"] for each in found(handle, asked, ["_id"])]
    if not ids:
        return []
    token = uuid4().hex
    update = {**_FREED, "$set": {"status": WAITING, "token": token}}
    free = partial(handle.schedules.update_many, {**asked, "_id": {"$in": ids}}, update)
    if twice(handle, free).modified_count == len(ids):
        return ids
    mine = {"_id": {"$in": ids}, "token": token}  # others were marked by another caller
    return [each["_id"] for each in found(handle, mine, ["_id"])]


def _withdraw(handle: Handle, schedule_id: str) -> None:
    """Leave a mark instead of the schedule, or in the way of one that is still to come.

    An index deletes it after seven days.
    """
    known: Document = {"_id": schedule_id}
    mark = {
        "status": WITHDRAWN,
        "date_withdrawn": datetime.now(timezone.utc),
        **dict.fromkeys(("body", "headers", "how"), ""),
    }
    for _ in range(_TRIES):
        try:
            handle.schedules.update_one(
                {**known, "status": {"$ne": CLAIMED}}, {"$set": mark}, upsert=True
            )
        except DuplicateKeyError:
            if found(handle, {**known, "status": CLAIMED}, ["_id"]):
                return
        else:
            return
