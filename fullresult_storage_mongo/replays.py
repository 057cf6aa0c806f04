"""Replays in MongoDB.

Nothing here is a transaction. That a replay has a task is the first write; the schedule and its
events follow. A process that dies, or stands still, in between leaves a task without a schedule: it
gets another one, after a mark was put in the way of the first, wherever that still is.

A schedule is due at `NOT_YET` until the replay is kept, and with it when each is to be due: then it
is. So a process that stood still while the replay was paused or cancelled has nothing sent.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime, timezone
from functools import partial

from pymongo import ReturnDocument, UpdateOne

from fullresult.record import (
    REPLAY_OVER,
    SCHEDULED,
    Replay,
    ReplayCounts,
    Replayed,
    Schedule,
    Taking,
    TaskRecord,
)
from fullresult.storage import NOT_YET
from fullresult_storage_mongo.clients import Document, Handle
from fullresult_storage_mongo.database import Database, again, twice
from fullresult_storage_mongo.records import ARRIVING, CLAIMED, WAITING, WITHDRAWN


class MongoReplays:
    """A `fullresult.storage.ReplayStorage`."""

    @abstractmethod
    def _prepared(self) -> Database:
        """The database, all collections and indexes known to be there."""

    def keep_replay(self, replay: Replay, *, instead_of: int | None) -> bool:
        database, whole = self._prepared(), _document(replay)
        known: Document = {"_id": replay.replay_id}
        if instead_of is None:
            made = {"$setOnInsert": whole}
            answer = database.run_once(
                lambda handle: again(lambda: handle.replays.update_one(known, made, upsert=True))
            )
            return answer.upserted_id is not None
        before = {**known, "version": instead_of}
        return bool(
            database.run_once(
                lambda handle: handle.replays.update_one(before, {"$set": whole}).matched_count
            )
        )

    def find_replays(
        self,
        *,
        replay_ids: Collection[str] | None = None,
        namespace: str | None = None,
        states: Collection[str] | None = None,
        limit: int = 100,
    ) -> list[Replay]:
        asked: Document = {}
        if replay_ids is not None:
            asked["_id"] = {"$in": [*replay_ids]}
        if namespace is not None:
            asked["namespace"] = {"$eq": namespace}
        if states is not None:
            asked["state"] = {"$in": [*states]}
        order = [("date_created", -1), ("_id", -1)]
        found = self._prepared().run(
            lambda handle: [*handle.replays.find(asked, sort=order, limit=limit)]
        )
        return [_replay(each) for each in found]

    def take_for_replay(
        self, replay: Replay, takings: Sequence[Taking], *, instead_of: int
    ) -> list[str] | None:
        # What was taken before the cursor is kept is found again; nothing is left out.
        database, replay_id = self._prepared(), replay.replay_id
        known = database.run(lambda handle: handle.replays.find_one({"_id": replay_id}))
        if known is None or known["version"] != instead_of:
            return None
        took: list[str] = []
        rest = [*known.get("to_be_due", ())]
        for each in takings:
            schedule_id = self._take(replay, each)
            if schedule_id is not None:
                took.append(each.task_id)
                rest.append([schedule_id, each.schedule.due])
        whole = {"$set": {**_document(replay), "to_be_due": rest}}
        before = {"_id": replay_id, "version": instead_of}
        if not database.run_once(
            lambda handle: handle.replays.update_one(before, whole).matched_count
        ):
            return None
        self.finish_taking(replay_id)
        return took

    def finish_taking(self, replay_id: str) -> bool:
        return self._prepared().run(lambda handle: _make_due(handle, replay_id))

    def _take(self, replay: Replay, taking: Taking) -> str | None:
        """The id of the schedule; None if another replay has the task."""
        mine = {
            "replay_id": replay.replay_id,
            "position": taking.position,
            "new_id": taking.schedule.task_id,
            "schedule_id": taking.schedule.schedule_id,
        }
        found = self._prepared().run(lambda handle: _first(handle, taking.task_id, mine))
        if found["replay_id"] != replay.replay_id:
            return None
        schedule = taking.schedule._replace(schedule_id=found["schedule_id"], due=NOT_YET)
        if found["known"]:
            schedule, is_new = self._anew(taking.task_id, schedule)
            if not is_new:
                return schedule.schedule_id  # another call came so far
        self.schedule(schedule, taking.events[0])
        if taking.events[1:]:
            self.write(taking.events[1:])
        return schedule.schedule_id

    def _anew(self, task_id: str, schedule: Schedule) -> tuple[Schedule, bool]:
        """The schedule of a task that another call took, and True if it is to be kept now.

        Of two that find nothing kept, one keeps it under another id, and the other sees that.
        """
        while self._prepared().run(partial(_is_barred, schedule=schedule)):
            other = schedule._replace(schedule_id=f"{schedule.schedule_id}+")
            mine = {"_id": task_id, "schedule_id": schedule.schedule_id}
            if self._change_replayed(mine, {"$set": {"schedule_id": other.schedule_id}}):
                return other, True
            kept = self._find_replayed({"_id": task_id})
            if not kept or kept[0].schedule_id == schedule.schedule_id:
                break  # given up meanwhile
            schedule = schedule._replace(schedule_id=kept[0].schedule_id)
        return schedule, False

    def _change_replayed(self, asked: Document, update: Document) -> bool:
        return bool(
            self._prepared().run_once(
                lambda handle: handle.replayed.update_one(asked, update).matched_count
            )
        )

    def find_replayed(
        self, replay_id: str, *, before: int | None = None, limit: int
    ) -> list[Replayed]:
        asked: Document = {"replay_id": {"$eq": replay_id}}
        if before is not None:
            asked["position"] = {"$lt": before}
        if limit < 1:
            return []
        return self._find_replayed(asked, limit)

    def _find_replayed(self, asked: Document, limit: int = 1) -> list[Replayed]:
        found = self._prepared().run(
            lambda handle: [*handle.replayed.find(asked, sort=[("position", -1)], limit=limit)]
        )
        return [
            Replayed(each["_id"], each["position"], each["new_id"], each["schedule_id"])
            for each in found
        ]

    def count_replayed(self, replay_id: str, most: int) -> ReplayCounts:
        if most < 1:
            return ReplayCounts(0, 0, 0, {})
        return self._prepared().read(lambda handle: _counts(handle, replay_id, most))

    def give_up_replayed(self, replay_id: str, task_ids: Collection[str]) -> None:
        mine: Document = {"_id": {"$in": [*task_ids]}, "replay_id": {"$eq": replay_id}}
        self._prepared().run(lambda handle: handle.replayed.delete_many(mine))

    def forget_replays(self, until: datetime, limit: int) -> int:
        if limit < 1:
            return 0

        def forget(handle: Handle) -> int:
            over = {"date_created": {"$lte": until}, "state": {"$in": [*REPLAY_OVER]}}
            old = [each["_id"] for each in handle.replays.find(over, {"_id": 1}, limit=limit)]
            asked = {"replay_id": {"$in": old}}
            taken = [each["_id"] for each in handle.replayed.find(asked, {"_id": 1}, limit=limit)]
            if taken:
                return handle.replayed.delete_many({"_id": {"$in": taken}}).deleted_count
            return handle.replays.delete_many({"_id": {"$in": old}}).deleted_count

        return self._prepared().run_once(forget)

    @abstractmethod
    def write(self, events: Sequence[TaskRecord]) -> list[str]: ...

    @abstractmethod
    def schedule(self, schedule: Schedule, event: TaskRecord) -> None: ...


def _make_due(handle: Handle, replay_id: str) -> bool:
    """Have be due what its replay was kept with; False if the event of one is not merged yet."""
    found = handle.replays.find_one({"_id": replay_id}, {"version": 1, "to_be_due": 1})
    rest = found.get("to_be_due") if found else None
    if not found or not rest:
        return True
    # Not what was held, moved or cancelled since: that is due at another time, or gone.
    updates = [
        UpdateOne({"_id": each, "status": WAITING, "due": NOT_YET}, {"$set": {"due": due}})
        for each, due in rest
    ]
    handle.schedules.bulk_write(updates, ordered=False)
    late = {"_id": {"$in": [each for each, _ in rest]}, "status": ARRIVING}
    if handle.schedules.find_one(late, {"_id": 1}):
        return False  # whoever keeps it goes on, or a sweeper does
    known = {"_id": replay_id, "version": found["version"]}
    handle.replays.update_one(known, {"$unset": {"to_be_due": 1}})
    return True


def _counts(handle: Handle, replay_id: str, most: int) -> ReplayCounts:
    """Two joins, each by the other's key; only what there is of them is told."""
    schedule = {
        "from": handle.schedules.name,
        "localField": "schedule_id",
        "foreignField": "_id",
        "pipeline": [
            {"$match": {"status": {"$in": [WAITING, CLAIMED, ARRIVING]}}},
            {"$project": {"status": 1}},
        ],
        "as": "schedule",
    }
    task = {
        "from": handle.tasks.name,
        "localField": "new_id",
        "foreignField": "_id",
        "pipeline": [{"$project": {"state": 1, "open": 1}}],
        "as": "task",
    }
    kind = {"schedule": {"$first": "$schedule.status"}, "task": {"$first": "$task"}}
    steps: list[Document] = [
        {"$match": {"replay_id": {"$eq": replay_id}}},
        {"$sort": {"position": -1}},
        {"$limit": most},
        {"$project": {"schedule_id": 1, "new_id": 1}},
        {"$lookup": schedule},
        {"$lookup": task},
        {"$project": kind},
        {
            "$group": {
                "_id": {"schedule": "$schedule", "state": "$task.state", "open": "$task.open"},
                "number": {"$sum": 1},
            }
        },
    ]
    number: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    for each in handle.replayed.aggregate(steps):
        kinds = each["_id"]
        number["all"] += each["number"]
        if (status := kinds.get("schedule")) is not None:
            number[CLAIMED if status == CLAIMED else WAITING] += each["number"]
        elif kinds.get("open") is False:
            ended[kinds["state"]] += each["number"]
    return ReplayCounts(number["all"], number[WAITING], number[CLAIMED], dict(ended))


def _is_barred(handle: Handle, schedule: Schedule) -> bool:
    """True if *schedule* never was there, and never will be: a mark is in the way of it.

    One that is there, whatever its status, is sent or was. One that was sent is gone only after its
    task's record says so.
    """
    mark = {
        **schedule._asdict(),
        **dict.fromkeys(("body", "headers", "how"), ""),
        "status": WITHDRAWN,
        "date_withdrawn": datetime.now(timezone.utc),
    }
    del mark["schedule_id"]
    known: Document = {"_id": schedule.schedule_id}
    again(lambda: handle.schedules.update_one(known, {"$setOnInsert": mark}, upsert=True))
    found = handle.schedules.find_one(known, {"status": 1})
    if found is None or found["status"] != WITHDRAWN:
        return False
    # From the primary: a secondary may not know yet.
    record = handle.results.find_one({"_id": schedule.task_id}, {"state": 1})
    return record is None or record.get("state") in (None, SCHEDULED)


def _first(handle: Handle, task_id: str, mine: Document) -> Document:
    """What is kept of a task that is taken now, unless it was before; `known` says so."""

    def take() -> Document:
        before = handle.replayed.find_one_and_update(
            {"_id": task_id},
            {"$setOnInsert": mine},
            upsert=True,
            return_document=ReturnDocument.BEFORE,
        )
        return {**(before or mine), "known": before is not None}

    return twice(handle, lambda: again(take))


def _document(replay: Replay) -> Document:
    return {
        "namespace": replay.namespace,
        "state": replay.state,
        "date_created": replay.date_created,
        "version": replay.version,
        "about": replay.about,
    }


def _replay(found: Document) -> Replay:
    names = ("namespace", "state", "date_created", "version", "about")
    return Replay.of(found["_id"], *(found[name] for name in names))
