"""The fields that statistics are made of, in MongoDB."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise

from fullresult.record import NOT_RUN, Sample, ScheduleQuery, pages
from fullresult.storage import Alike, Tally, TaskQuery, Walked
from fullresult_storage_mongo import queries, schedules
from fullresult_storage_mongo.clients import Document, Handle
from fullresult_storage_mongo.database import Database
from fullresult_storage_mongo.records import record

_FIELDS = tuple("start_date" if name == "first_started" else name for name in Sample._fields)
_ONLY = {"_id": 0, "bucket": 1, **dict.fromkeys(_FIELDS, 1)}
_STATE = {"$cond": [{"$eq": ["$bucket", NOT_RUN]}, NOT_RUN, "$state"]}
"""What never ran is a FAILURE to older versions, in a section of its own."""


class MongoStatistics:
    """A `fullresult.storage.StatisticsStorage`."""

    @abstractmethod
    def _prepared(self) -> Database:
        """The database, all collections and indexes known to be there."""

    def sample(self, edges: Sequence[datetime], most: int) -> list[list[Sample]]:
        database = self._prepared()
        if most < 1:
            return [[] for _ in pairwise(edges)]
        return database.read(
            lambda handle: [_sample(handle, *span, most) for span in pairwise(edges)]
        )

    def count_alike(self, since: datetime, until: datetime, most: int) -> list[Alike]:
        database = self._prepared()
        if most < 1:
            return []
        return database.read(lambda handle: _count_alike(handle, since, until, most))

    def count_capped(self, query: TaskQuery | ScheduleQuery, most: int) -> int:
        database = self._prepared()
        if most < 1:
            return 0
        return database.run(lambda handle: _count(handle, query, most))

    def tally(self, query: TaskQuery, looked: int) -> Tally:
        """`fullresult.storage.WalkingStorage`."""
        most = max(looked, 0)
        if not most:
            return Tally({}, is_all=False)
        return self._prepared().read(lambda handle: _tally(handle, query, most))

    def walk(self, query: TaskQuery, looked: int) -> Walked:
        """`fullresult.storage.WalkingStorage`."""
        return self._prepared().read(lambda handle: _walk(handle, query, max(looked, 1)))


def _tally(handle: Handle, query: TaskQuery, most: int) -> Tally:
    query = replace(query, after=None)
    # Two steps, each with a `$match`, would be made one.
    steps: list[Document] = [
        {"$match": queries.along(query)},
        {"$sort": dict(queries.order(query))},
        {"$limit": most},
        {
            "$facet": {
                "all": [{"$count": "count"}],
                "found": [
                    {"$match": queries.page(handle, query, None)},
                    {"$group": {"_id": _STATE, "count": {"$sum": 1}}},
                ],
            }
        },
    ]
    (found,) = handle.tasks.aggregate(steps)
    looked = found["all"][0]["count"] if found["all"] else 0
    by_state = {each["_id"]: each["count"] for each in found["found"] if each["_id"]}
    return Tally(by_state, is_all=looked < most)


def _walk(handle: Handle, query: TaskQuery, looked: int) -> Walked:
    order = queries.order(query)
    edges = handle.tasks.find(
        queries.along(query), {"date_created": 1}, sort=order, skip=looked - 1, limit=1
    )
    edge = next(((each["date_created"], each["_id"]) for each in edges), None)
    found = handle.tasks.find(
        queries.up_to(handle, query, edge), sort=order, limit=query.limit or 0
    )
    records = [*map(record, found)]
    if records and len(records) == query.limit:
        return Walked(records, records[-1].cursor)
    return Walked(records, pages.cursor(*edge) if edge else None)


def _sample(handle: Handle, since: datetime, until: datetime, most: int) -> list[Sample]:
    # Converting each date's zone would take longer than all the rest.
    in_utc = handle.tasks.codec_options.with_options(tzinfo=None)
    found = handle.tasks.with_options(codec_options=in_utc).find(
        {"date_created": {"$gte": since, "$lt": until}},
        _ONLY,
        sort=[("date_created", -1), ("_id", -1)],
        limit=most,
        batch_size=most + 1,
    )
    return [_as_sample(each) for each in found]


def _as_sample(found: Document) -> Sample:
    if found.get("bucket") == NOT_RUN:
        found["state"] = NOT_RUN
    return Sample._make(map(found.get, _FIELDS))


def _count_alike(handle: Handle, since: datetime, until: datetime, most: int) -> list[Alike]:
    told_apart: Document = {
        "name": {"$ifNull": ["$name", None]},
        "state": {"$ifNull": [_STATE, None]},
        "published": {"$ne": [{"$ifNull": ["$date_published", None]}, None]},
        "started": {"$ne": [{"$ifNull": ["$start_date", None]}, None]},
        "retried": {"$gt": [{"$ifNull": ["$retries", 0]}, 0]},
    }
    steps: list[Document] = [
        {"$match": {"date_created": {"$gte": since, "$lt": until}}},
        {"$sort": {"date_created": -1, "_id": -1}},
        {"$limit": most},
        {"$group": {"_id": told_apart, "number": {"$sum": 1}}},
    ]
    return [Alike(**each["_id"], number=each["number"]) for each in handle.tasks.aggregate(steps)]


def _count(handle: Handle, query: TaskQuery | ScheduleQuery, most: int) -> int:
    if isinstance(query, TaskQuery):
        where = queries.everything(handle, query, queries.names(handle, query))
        return handle.tasks.count_documents(where, limit=most)
    steps = schedules.steps_to(handle, replace(query, after=None))
    found = list(handle.schedules.aggregate([*steps, {"$limit": most}, {"$count": "count"}]))
    return int(found[0]["count"]) if found else 0
