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
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from itertools import islice

from pymongo import UpdateOne
from pymongo.errors import PyMongoError

from fullresult.record import (
    REPLAY_OVER,
    REVOKED,
    SCHEDULED,
    Replay,
    ReplayCounts,
    Replayed,
    Schedule,
    Taking,
    TaskRecord,
)
from fullresult.storage import NOT_YET
from fullresult_storage_mongo import writing
from fullresult_storage_mongo.clients import Document, Handle
from fullresult_storage_mongo.database import Database, again, is_refusal, schedules, twice
from fullresult_storage_mongo.outbox import Outbox, as_bytes, of_bytes
from fullresult_storage_mongo.records import ARRIVING, CLAIMED, WAITING, WITHDRAWN

_COUNTED = 1_000
"""Tasks whose schedules and records are read by one command."""
_NAMES = ("namespace", "state", "date_created", "version", "about")
_KNOWN = dict.fromkeys(_NAMES, 1)
"""What is read of a replay: not what is to be due or marked of its last page, which may be long."""
_REST: Document = {"version": 1, "to_be_due": 1, "to_be_marked": 1}
_BYTES = 1024 * 1024
"""Bytes of the bodies of what is taken by one write of each kind; more only of a single task."""


class MongoReplays:
    """A `fullresult.storage.ReplayStorage`."""

    _outbox: Outbox
    _at_once = 100
    """Tasks that are taken by one write of each kind, at most."""

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
            lambda handle: [*handle.replays.find(asked, _KNOWN, sort=order, limit=limit)]
        )
        return [_replay(each) for each in found]

    def take_for_replay(
        self, replay: Replay, takings: Sequence[Taking], *, instead_of: int
    ) -> list[str] | None:
        # What was taken before the cursor is kept is found again; nothing is left out.
        database, replay_id = self._prepared(), replay.replay_id
        known = database.run(lambda handle: handle.replays.find_one({"_id": replay_id}, _REST))
        if known is None or known["version"] != instead_of:
            return None
        took: list[str] = []
        rest, marks = [*known.get("to_be_due", ())], [*known.get("to_be_marked", ())]
        for some in _portions(takings, self._at_once):
            ids = self._take(replay, some)
            mine = [each for each in some if each.task_id in ids]
            took += [each.task_id for each in mine]
            rest += [[ids[each.task_id], each.schedule.due] for each in mine]
            # Not before the replay is kept: a page that was cut off would not be found again, if
            # the filter leaves out what is marked.
            marks += [as_bytes(event) for each in mine for event in each.events[1:]]
        whole = {"$set": {**_document(replay), "to_be_due": rest, "to_be_marked": marks}}
        before = {"_id": replay_id, "version": instead_of}
        if not database.run_once(
            lambda handle: handle.replays.update_one(before, whole).matched_count
        ):
            return None
        self.finish_taking(replay_id)
        return took

    def finish_taking(self, replay_id: str) -> bool:
        return self._prepared().run(lambda handle: _finish(handle, replay_id))

    def _take(self, replay: Replay, takings: Sequence[Taking]) -> dict[str, str]:
        """The id of the schedule of each task, by the task's, but of those of other replays."""
        database = self._prepared()
        kept = database.run(lambda handle: _first(handle, replay.replay_id, takings))
        # A page that is done again schedules none that a person has cancelled since.
        new = [each["new_id"] for each, is_new in kept.values() if is_new]
        gone = database.run(partial(_revoked, ids=new))
        before = [each for each, is_new in kept.values() if not is_new]
        there = database.run(partial(_there, schedule_ids=[each["schedule_id"] for each in before]))
        ids: dict[str, str] = {}
        made: list[tuple[Schedule, TaskRecord]] = []
        for each in takings:
            found, is_new = kept[each.task_id]
            if found["replay_id"] != replay.replay_id or found["new_id"] in gone:
                continue
            schedule = each.schedule._replace(schedule_id=found["schedule_id"], due=NOT_YET)
            if not is_new and schedule.schedule_id not in there:
                schedule, is_new = self._anew(each.task_id, schedule)
            if is_new:
                made.append((schedule, each.events[0]))
            ids[each.task_id] = schedule.schedule_id
        if gone:
            self.give_up_replayed(
                {
                    task_id: each["new_id"]
                    for task_id, (each, _) in kept.items()
                    if each["new_id"] in gone
                }
            )
        self._outbox.schedule_all(made)
        return ids

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
        found = self._find_replayed(asked, limit)
        if len(found) == limit:
            # What was cut off and done again may stand at one position with others: none is left
            # out of the next page.
            last = found[-1].position
            found = [each for each in found if each.position > last]
            found += self._find_replayed({**asked, "position": {"$eq": last}}, 0)
        return found

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

    def give_up_replayed(self, new_ids: Mapping[str, str]) -> None:
        # A new id is of one task, and of one replay.
        mine: Document = {"_id": {"$in": [*new_ids]}, "new_id": {"$in": [*new_ids.values()]}}
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


def _finish(handle: Handle, replay_id: str) -> bool:
    """Mark, and have be due, what its replay was kept with.

    False if the event of one is not merged yet.
    """
    found = handle.replays.find_one({"_id": replay_id}, _REST)
    if not found:
        return True
    rest, marks = found.get("to_be_due") or (), found.get("to_be_marked") or ()
    if not rest and not marks:
        return True
    _mark(handle, marks)
    # Not what was held, moved or cancelled since: that is due at another time, or gone.
    updates = [
        UpdateOne({"_id": each, "status": WAITING, "due": NOT_YET}, {"$set": {"due": due}})
        for each, due in rest
    ]
    if updates:  # else a worker of an older version, which knows no marks, did that
        handle.schedules.bulk_write(updates, ordered=False)
    late = {"_id": {"$in": [each for each, _ in rest]}, "status": ARRIVING}
    if handle.schedules.find_one(late, {"_id": 1}):
        return False  # whoever keeps it goes on, or a sweeper does
    known = {"_id": replay_id, "version": found["version"]}
    handle.replays.update_one(known, {"$unset": {"to_be_due": 1, "to_be_marked": 1}})
    return True


def _mark(handle: Handle, marks: Sequence[bytes]) -> None:
    try:
        writing.merge_all(handle, [*map(of_bytes, marks)])
    except PyMongoError as error:
        if not is_refusal(error):
            raise
        # What is taken is sent all the same.


def _counts(handle: Handle, replay_id: str, most: int) -> ReplayCounts:
    """Some at a time: to join all in one command takes longer than a call may."""
    number: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    fields = {"_id": 0, "schedule_id": 1, "new_id": 1}
    mine, order = {"replay_id": {"$eq": replay_id}}, [("position", -1)]
    taken = iter(handle.replayed.find(mine, fields, sort=order, limit=most))
    while some := [*islice(taken, _COUNTED)]:
        ids = [each["schedule_id"] for each in some]
        kept = {"_id": {"$in": ids}, "status": {"$in": [WAITING, CLAIMED, ARRIVING]}}
        found = {each["_id"]: each["status"] for each in schedules(handle, kept, ["status"])}
        number["all"] += len(some)
        number.update(CLAIMED if each == CLAIMED else WAITING for each in found.values())
        sent = [each["new_id"] for each in some if each["schedule_id"] not in found]
        steps: list[Document] = [
            {"$match": {"_id": {"$in": sent}, "open": False}},
            {"$group": {"_id": "$state", "number": {"$sum": 1}}},
        ]
        for each in handle.results.aggregate(steps):
            ended[each["_id"]] += each["number"]
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


def _portions(takings: Sequence[Taking], most: int) -> Iterator[list[Taking]]:
    """*takings*, up to *most* at a time, and of few bytes: a write must not outlast a call."""
    some: list[Taking] = []
    size = 0
    for each in takings:
        some.append(each)
        size += len(each.schedule.body)
        if len(some) >= most or size >= _BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some


def _first(
    handle: Handle, replay_id: str, takings: Sequence[Taking]
) -> dict[str, tuple[Document, bool]]:
    """What is kept of each task, by its id, and True if nothing was before."""
    mine: dict[str, Document] = {
        each.task_id: {
            "replay_id": replay_id,
            "position": each.position,
            "new_id": each.schedule.task_id,
            "schedule_id": each.schedule.schedule_id,
        }
        for each in takings
    }
    kept: dict[str, tuple[Document, bool]] = {}
    while left := [task_id for task_id in mine if task_id not in kept]:
        made = [
            UpdateOne({"_id": task_id}, {"$setOnInsert": mine[task_id]}, upsert=True)
            for task_id in left
        ]
        # What an attempt kept whose answer was lost looks as if it was there before: it is seen to.
        answer = twice(
            handle, partial(again, partial(handle.replayed.bulk_write, made, ordered=False))
        )
        new = {left[index] for index in answer.upserted_ids or ()}
        kept |= {task_id: (mine[task_id], True) for task_id in new}
        others = {"_id": {"$in": [task_id for task_id in left if task_id not in new]}}
        found = twice(handle, partial(_replayed, handle, others))
        kept |= {each["_id"]: (each, False) for each in found}
    return kept


def _replayed(handle: Handle, asked: Document) -> list[Document]:
    return [*handle.replayed.find(asked)]


def _revoked(handle: Handle, ids: Sequence[str]) -> set[str]:
    if not ids:
        return set()
    asked = {"_id": {"$in": [*ids]}, "state": REVOKED}
    return {each["_id"] for each in handle.results.find(asked, {"_id": 1})}


def _there(handle: Handle, schedule_ids: Sequence[str]) -> set[str]:
    """Those of the schedules that are there, whatever their status, and no mark instead."""
    if not schedule_ids:
        return set()
    asked = {"_id": {"$in": [*schedule_ids]}, "status": {"$ne": WITHDRAWN}}
    return {each["_id"] for each in schedules(handle, asked, ["_id"])}


def _document(replay: Replay) -> Document:
    return {
        "namespace": replay.namespace,
        "state": replay.state,
        "date_created": replay.date_created,
        "version": replay.version,
        "about": replay.about,
    }


def _replay(found: Document) -> Replay:
    return Replay.of(found["_id"], *(found[name] for name in _NAMES))
