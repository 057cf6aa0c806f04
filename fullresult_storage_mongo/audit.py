"""The audit log in MongoDB."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator
from datetime import datetime

from fullresult.record import AuditEntry, AuditQuery
from fullresult_storage_mongo import queries
from fullresult_storage_mongo.clients import Document, Handle
from fullresult_storage_mongo.database import Database, again

_OLDEST = [("at", 1), ("_id", 1)]


class MongoAudit:
    """A `fullresult.storage.AuditStorage`."""

    @abstractmethod
    def _prepared(self) -> Database:
        """The database, all collections and indexes known to be there."""

    def keep_audit(self, entry: AuditEntry) -> None:
        known = {"_id": entry.entry_id}
        update = {"$setOnInsert": _document(entry)}
        self._prepared().run(
            lambda handle: again(lambda: handle.audit.update_one(known, update, upsert=True))
        )

    def find_audit(self, query: AuditQuery) -> list[AuditEntry]:
        database = self._prepared()
        if query.limit == 0:
            return []
        where = {"$and": [*_conditions(query)]}
        order = [("at", -1), ("_id", -1)]

        def find(handle: Handle) -> list[AuditEntry]:
            found = handle.audit.find(where, sort=order, limit=query.limit or 0)
            return [*map(_entry, found)]

        return database.read(find)

    def forget_audit(self, until: datetime, limit: int) -> int:
        if limit < 1:
            return 0

        def forget(handle: Handle) -> int:
            old = handle.audit.find({"at": {"$lte": until}}, {"_id": 1}, sort=_OLDEST, limit=limit)
            ids = [each["_id"] for each in old]
            return handle.audit.delete_many({"_id": {"$in": ids}}).deleted_count

        return self._prepared().run_once(forget)


def _document(entry: AuditEntry) -> Document:
    return {
        "at": entry.at,
        "actor": entry.actor,
        "action": entry.action,
        "task_ids": list(entry.task_ids),
        # Text: its keys may hold dots and dollars.
        "details": json.dumps(dict(entry.details)),
        "outcome": entry.outcome,
    }


def _entry(found: Document) -> AuditEntry:
    return AuditEntry(
        found["_id"],
        found["at"],
        found["actor"],
        found["action"],
        tuple(found["task_ids"]),
        json.loads(found["details"]),
        found["outcome"],
    )


def _conditions(query: AuditQuery) -> Iterator[Document]:
    yield {}
    named = {"actor": query.actor, "action": query.action, "task_ids": query.task_id}
    for field, value in named.items():
        if value is not None:
            yield {field: {"$eq": value}}
    if query.since is not None:
        yield {"at": {"$gte": query.since}}
    if query.until is not None:
        yield {"at": {"$lt": query.until}}
    if query.position is not None:
        yield from queries.beyond("at", "$lt", *query.position)
