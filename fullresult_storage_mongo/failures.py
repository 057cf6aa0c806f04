"""Groups of failures, and decisions about them, in MongoDB."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from typing import Any

from pymongo import UpdateOne

from fullresult.record import Decision, FailureGroup, FailureQuery, encoding
from fullresult.storage import Grouped
from fullresult_storage_mongo.clients import Document, Handle
from fullresult_storage_mongo.database import Database, again

_ANY: Document = {"$gte": ""}
"""As the index has it: a query must say so to be answered by it."""
_AT_ONCE = 200
"""Groups that one command counts: it has at most 1,000 steps."""
_HALVED = 20
"""Groups from which two commands count at the same time, each half of them. To count a group of
1,000 costs the server about a millisecond, and it runs one command on one core."""
_SHOWN = ("name", "state", "exception_type", "exception_message", "outcome_stamp")


class MongoFailures:
    """A `fullresult.storage.FailureStorage`."""

    @abstractmethod
    def _prepared(self) -> Database:
        """The database, all collections and indexes known to be there."""

    def find_failures(self, query: FailureQuery) -> list[FailureGroup]:
        database = self._prepared()
        if query.limit < 1:
            return []
        return database.read(lambda handle: _find(handle, query))

    def keep_decision(self, decision: Decision) -> None:
        known, rest = {"_id": decision.fingerprint}, decision._asdict()
        del rest["fingerprint"]
        self._prepared().run(
            lambda handle: again(lambda: handle.failures.replace_one(known, rest, upsert=True))
        )

    def find_decisions(self, fingerprints: Collection[str] | None = None) -> list[Decision]:
        wanted = {} if fingerprints is None else {"_id": {"$in": [*fingerprints]}}
        return self._prepared().run(lambda handle: [*map(_decision, handle.failures.find(wanted))])

    def set_fingerprints(self, grouped: Sequence[Grouped]) -> int:
        updates = [
            UpdateOne(
                {"_id": each.task_id, "outcome_stamp": each.stamp, "fingerprint": None},
                {"$set": {"fingerprint": each.fingerprint}},
            )
            for each in grouped
        ]
        if not updates:
            return 0
        write = self._prepared().run_once
        return write(lambda handle: handle.tasks.bulk_write(updates, ordered=False).modified_count)


def _find(handle: Handle, query: FailureQuery) -> list[FailureGroup]:
    last = _ends(handle, query, -1)
    if query.since is not None:
        last = {name: end for name, end in last.items() if end[0] >= query.since}
    newest = sorted(last.items(), key=itemgetter(0))
    newest = sorted(newest, key=lambda each: each[1][0], reverse=True)[: query.limit]
    names = [name for name, _ in newest]
    if not names:
        return []
    first = _ends(handle, query, 1)
    found = handle.failures.find({"_id": {"$in": names}})
    decisions = {each["_id"]: _decision(each) for each in found}
    counts = _counts(handle, query, names, decisions)
    shown = dict.fromkeys(_SHOWN, 1)
    ids = [task_id for _, (_, task_id) in newest]
    tasks = {each["_id"]: each for each in handle.tasks.find({"_id": {"$in": ids}}, shown)}
    return [
        FailureGroup._make(
            (
                *(name, first[name][0], date, task_id),
                *(tasks[task_id].get(field) for field in _SHOWN),
                *counts.get(name, (0, 0)),
                decisions.get(name),
            )
        )
        for name, (date, task_id) in newest
        if task_id in tasks and name in first  # not deleted a moment ago
    ]


def _ends(handle: Handle, query: FailureQuery, direction: int) -> dict[str, tuple[Any, str]]:
    """The first or last end of each group, and its task: one step along the index for each."""
    one = query.fingerprint
    fingerprint = _ANY if one is None else {"$eq": encoding.key(one), **_ANY}
    order = dict.fromkeys(("fingerprint", "date_done", "_id", "resent"), direction)
    steps: list[Document] = [
        {"$match": {"fingerprint": fingerprint}},
        {"$sort": order},
        {
            "$group": {
                "_id": "$fingerprint",
                "date": {"$first": "$date_done"},
                "task_id": {"$first": "$_id"},
            }
        },
    ]
    if one is not None or direction > 0:
        steps[0]["$match"]["date_done"] = {"$type": "date"}
    found = handle.tasks.aggregate(steps)
    return {each["_id"]: (each["date"], each["task_id"]) for each in found if each["date"]}


def _counts(
    handle: Handle, query: FailureQuery, names: Sequence[str], decisions: dict[str, Decision]
) -> dict[str, tuple[int, int]]:
    """The number of failures of each group, and of those of them that are not dealt with."""
    parts = [_counted(handle.tasks.name, query, name, decisions.get(name)) for name in names]
    commands = max(-(-len(parts) // _AT_ONCE), 2 if len(parts) >= _HALVED else 1)

    def ask(command: int) -> list[Document]:
        first, *rest = parts[command::commands]
        steps = [*first["pipeline"], *({"$unionWith": part} for part in rest)]
        return [*handle.tasks.aggregate(steps)]

    if commands == 1:
        found = ask(0)
    else:
        with ThreadPoolExecutor(2, "fullresult-count") as threads:
            found = [each for some in threads.map(ask, range(commands)) for each in some]
    return {each["_id"]: (each["number"], each["number"] - each["dealt_with"]) for each in found}


def _counted(
    collection: str, query: FailureQuery, name: str, decision: Decision | None
) -> Document:
    since: Document = {"$type": "date"} if query.since is None else {"$gte": query.since}
    dealt_with: Document = {"$regexMatch": {"input": "$resent", "regex": r"\.\Z"}}
    if decision is not None and decision.is_resolved:
        dealt_with = {"$or": [dealt_with, {"$lte": ["$date_done", decision.date_decided]}]}
    steps: list[Document] = [
        {"$match": {"fingerprint": {"$eq": name, **_ANY}, "date_done": since}},
        {"$sort": {"fingerprint": -1, "date_done": -1}},
        {"$limit": max(query.most, 1)},
        {
            "$group": {
                "_id": {"$literal": name},
                "number": {"$sum": 1},
                # 1 for each that is; to say so by `$cond` takes half as long again.
                "dealt_with": {"$sum": {"$cmp": [dealt_with, False]}},
            }
        },
    ]
    return {"coll": collection, "pipeline": steps}


def _decision(found: Document) -> Decision:
    known = {name: found.get(name) for name in Decision._fields}
    return Decision(**{**known, "fingerprint": found["_id"]})
