"""The storage over MongoDB."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from functools import partial

from pymongo.collection import Collection
from pymongo.cursor import Cursor
from pymongo.errors import OperationFailure

from fullresult.record import TaskRecord
from fullresult.storage import (
    AsyncOutboxWriter,
    CommitListener,
    Identity,
    OutboxWriter,
    Reached,
    StorageError,
    TaskQuery,
    find_in_parts,
    is_behind_others,
    is_indexed,
    is_of_few,
)
from fullresult_storage_mongo import indexes, queries, records, writing
from fullresult_storage_mongo.audit import MongoAudit
from fullresult_storage_mongo.caller_sessions import SCHEMA, identity_of, writer_by
from fullresult_storage_mongo.clients import Document, Handle
from fullresult_storage_mongo.commit_listener import MongoListener, has_streams
from fullresult_storage_mongo.database import Database
from fullresult_storage_mongo.failures import MongoFailures
from fullresult_storage_mongo.outbox import Outbox
from fullresult_storage_mongo.pauses import MongoPauses
from fullresult_storage_mongo.replays import MongoReplays
from fullresult_storage_mongo.results import MongoResults
from fullresult_storage_mongo.schedules import MongoSchedules
from fullresult_storage_mongo.shapes import MongoShapes
from fullresult_storage_mongo.statistics import MongoStatistics
from fullresult_storage_mongo.workers import MongoWorkers

logger = logging.getLogger(__name__)

_PORTION = 5_000
"""Records that one command deletes."""
_WALKED = 1_000
"""Records, in the order asked for, that are looked at before it is asked which names there are."""
_NOT_BY_THIS_INDEX = (2, 291)
"""The server's codes for a hint of an index that was dropped, or that cannot be used."""


class MongoStorage(
    MongoSchedules,
    MongoReplays,
    MongoResults,
    MongoWorkers,
    MongoPauses,
    MongoStatistics,
    MongoShapes,
    MongoFailures,
    MongoAudit,
):
    """A `fullresult.storage.Storage`, with all that is optional, over a `Database`."""

    def __init__(
        self, database: Database, *, auto_setup: bool, index_kwargs: Sequence[str] = ()
    ) -> None:
        self._database = database
        self._auto_setup = auto_setup
        self._index_kwargs = index_kwargs
        self._outbox = Outbox(database)
        self._ready = False

    def __repr__(self) -> str:
        return f"<MongoStorage {self._database!r}>"

    def setup(self) -> None:
        self._database.run_patiently(self._set_up)
        self._ready = True

    def close(self) -> None:
        self._database.close()

    def now(self) -> datetime:
        return self._database.run(_now)

    def has_replicas(self) -> bool:
        """`fullresult.storage.ReplicatedStorage`."""
        return True

    def reached(self) -> Reached:
        """By the read preference of the URL; a router of a cluster is no replica."""
        return self._prepared().run(_reached)

    def write(self, events: Sequence[TaskRecord]) -> list[str]:
        database = self._prepared()
        if len(events) == 1:
            lacking = database.at_once(writing.write_at_once, events[0])
            if lacking is not None:
                return lacking
        return database.run_once(lambda handle: writing.write(handle, events))

    def get(self, task_id: str) -> TaskRecord | None:
        found = self._prepared().run(lambda handle: handle.tasks.find_one({"_id": task_id}))
        return records.record(found) if found else None

    def find(self, query: TaskQuery) -> list[TaskRecord]:
        database = self._prepared()
        if query.limit == 0:
            return []
        if query.limit and is_behind_others(query, by_state=True):
            return find_in_parts(self, query, query.limit)
        return database.read(lambda handle: _find(handle, query))

    def ids_beginning(self, beginning: str, most: int) -> list[str]:
        """`fullresult.storage.PrefixStorage`."""

        def find(handle: Handle) -> list[str]:
            where = {"_id": {"$gte": beginning, "$lt": f"{beginning}\U0010ffff"}}
            found = handle.tasks.find(where, {"_id": 1}, sort=[("_id", 1)], limit=most)
            return [each["_id"] for each in found]

        return self._prepared().read(find)

    def has_index(self, query: TaskQuery) -> bool:
        """`fullresult.storage.IndexedStorage`."""
        wanted = set(query.kwargs or ()).intersection(self._index_kwargs)
        built = self._prepared().run(indexes.of_arguments) if wanted else ()
        return is_indexed(query, json=not wanted.isdisjoint(built), by_state=True)

    def count(self, query: TaskQuery) -> int:
        def count(handle: Handle) -> int:
            where = queries.everything(handle, query, queries.names(handle, query))
            return handle.tasks.count_documents(where)

        return self._prepared().run(count)

    def delete(self, query: TaskQuery) -> int:
        database = self._prepared()
        if query.limit == 0:
            return 0
        ids = database.read(lambda handle: _ids(handle, query))
        portions = [ids[start : start + _PORTION] for start in range(0, len(ids), _PORTION)]
        return sum(database.run_once(partial(_delete, ids=portion)) for portion in portions)

    def delete_expired(self, now: datetime, limit: int) -> int:
        database = self._prepared()
        if limit < 1:
            return 0
        return database.run_once(partial(_delete_expired, name="results", now=now, limit=limit))

    def delete_expired_results(self, now: datetime, limit: int) -> bool:
        database = self._prepared()
        if limit < 1:
            return False
        found = [
            database.run_once(partial(_delete_expired, name=name, now=now, limit=limit))
            for name in ("groups", "chords", "segments")
        ]
        return max(found) >= limit

    def identity(self) -> Identity:
        """`fullresult.storage.OutboxStorage`."""
        known = {"_id": SCHEMA}
        return identity_of(self._prepared().run(lambda handle: handle.versions.find_one(known)))

    def listener(self, namespace: str) -> CommitListener | None:
        database = self._prepared()
        return MongoListener(database, namespace) if database.run(has_streams) else None

    def writer(self, connection: object) -> OutboxWriter | AsyncOutboxWriter | None:
        return writer_by(connection, self._database.place)

    def _prepared(self) -> Database:
        if not self._ready:
            self._get_ready()
        return self._database

    def _get_ready(self) -> None:
        database, wanted = self._database, self._index_kwargs
        found = database.run(lambda handle: indexes.state(handle, wanted))
        if not (found.is_current and found.has_kwargs):
            self._complete(found)
        self._ready = True

    def _complete(self, found: indexes.State) -> None:
        if not self._auto_setup:
            raise StorageError(
                f"{self._database!r}: its collections or indexes are missing or old, and "
                "fullresult_auto_setup is False; run `celery -A proj fullresult setup`"
            )
        if not found.is_large:
            self._database.run(self._set_up)
        elif not found.is_current:
            raise StorageError(
                f"{self._database!r}: its indexes are old, and there are too many records to build "
                "some in passing; run `celery -A proj fullresult setup`"
            )
        else:
            logger.warning(
                "fullresult: arguments of fullresult_index_kwargs have no index, and there are too "
                "many records to build one in passing: run `celery -A proj fullresult setup`"
            )

    def _set_up(self, handle: Handle) -> None:
        indexes.set_up(handle, self._index_kwargs)


def _now(handle: Handle) -> datetime:
    options = handle.tasks.codec_options  # a command has none of its own
    when: datetime = handle.client.admin.command("hello", codec_options=options)["localTime"]
    return when


def _reached(handle: Handle) -> Reached:
    client, options = handle.client, handle.tasks.codec_options
    hello = client.admin.command(
        "hello", read_preference=client.read_preference, codec_options=options
    )
    last = hello.get("lastWrite", {})
    stamp = last.get("opTime", {}).get("ts")
    return Reached(
        is_replica=bool(hello.get("secondary")),
        place=None if stamp is None else stamp.time << 32 | stamp.inc,
        last=last.get("lastWriteDate"),
        now=hello["localTime"],
        family=hello.get("setName"),
    )


def _find(handle: Handle, query: TaskQuery) -> list[TaskRecord]:
    if query.limit and query.name_is_glob and not is_of_few(query):
        # Few names match a glob whose tasks are rare; to ask for the others takes seconds.
        near = _near(handle, query)
        if len(near) == query.limit:
            return near
    try:
        return [*map(records.record, _found(handle, query, hint=queries.hint(query)))]
    except OperationFailure as error:
        if error.code not in _NOT_BY_THIS_INDEX or queries.hint(query) is None:
            raise
    return [*map(records.record, _found(handle, query))]


def _near(handle: Handle, query: TaskQuery) -> list[TaskRecord]:
    steps: list[Document] = [
        {"$match": queries.along(query)},
        {"$sort": dict(queries.order(query))},
        {"$limit": _WALKED},
        {"$match": queries.page(handle, query)},
        {"$limit": query.limit},
    ]
    return [*map(records.record, handle.tasks.aggregate(steps))]


def _found(
    handle: Handle, query: TaskQuery, fields: Document | None = None, hint: str | None = None
) -> Cursor[Document]:
    return handle.tasks.find(
        queries.page(handle, query, queries.names(handle, query)),
        fields,
        sort=queries.order(query),
        limit=query.limit or 0,
        hint=hint,
        allow_disk_use=True,
    )


def _ids(handle: Handle, query: TaskQuery) -> list[str]:
    return [each["_id"] for each in _found(handle, query, {"_id": 1})]


def _delete(handle: Handle, ids: Sequence[str]) -> int:
    return handle.tasks.delete_many({"_id": {"$in": ids}}).deleted_count


def _delete_expired(handle: Handle, name: str, now: datetime, limit: int) -> int:
    collection: Collection[Document] = getattr(handle, name)
    expired: Document = {"expire_at": {"$lte": now, "$type": "date"}}  # as the index has it
    found = collection.find(expired, {"_id": 1}, sort=[("expire_at", 1)], limit=limit)
    ids = [each["_id"] for each in found]
    return collection.delete_many({"_id": {"$in": ids}, **expired}).deleted_count if ids else 0
