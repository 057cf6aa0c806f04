"""Tasks that enter MongoDB by a session of the caller's, in its transaction."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from pymongo import ReadPreference
from pymongo.client_session import ClientSession

from fullresult.storage import AsyncOutboxWriter, Identity, OutboxRow, OutboxWriter
from fullresult_storage_mongo import records
from fullresult_storage_mongo.clients import Document
from fullresult_storage_mongo.too_large import fit

SCHEMA = "schema"
"""The id of the document that has the version and the identity."""


class Place(NamedTuple):
    """The collections of one storage."""

    database: str
    prefix: str


class _Addressed:
    def __init__(self, session: Any, place: Place) -> None:
        self._session = session
        self._place = place

    @property
    def address(self) -> str:
        return address_of(self._session.client, self._place)

    def in_transaction(self) -> bool:
        return bool(self._session.in_transaction)

    def nesting(self) -> int:
        return 0

    def _collection(self, name: str) -> Any:
        collection = self._session.client[self._place.database][f"{self._place.prefix}{name}"]
        return collection.with_options(read_preference=ReadPreference.PRIMARY)


class SessionWriter(_Addressed):
    """`fullresult.storage.OutboxWriter` by a session of PyMongo's."""

    def identity(self) -> Identity:
        # Outside the transaction, whose snapshot may be older than our collections.
        return identity_of(self._collection("schema").find_one({"_id": SCHEMA}))

    def write(self, rows: Sequence[OutboxRow], wake: str | None) -> None:  # noqa: ARG002
        for row in rows:
            for name, known, update in updates(row):
                collection = self._collection(name)
                collection.update_one(known, update, upsert=True, session=self._session)


class AsyncSessionWriter(_Addressed):
    """`fullresult.storage.AsyncOutboxWriter` by an asynchronous session of PyMongo's."""

    def transaction(self) -> object | None:
        # Not told in public.
        return getattr(getattr(self._session, "_server_session", None), "_transaction_id", None)

    async def identity_later(self) -> Identity:
        return identity_of(await self._collection("schema").find_one({"_id": SCHEMA}))

    async def write_later(self, rows: Sequence[OutboxRow], wake: str | None) -> None:  # noqa: ARG002
        for row in rows:
            for name, known, update in updates(row):
                collection = self._collection(name)
                await collection.update_one(known, update, upsert=True, session=self._session)


def writer_by(session: object, place: Place) -> OutboxWriter | AsyncOutboxWriter | None:
    """A writer by *session*; None if it is none of PyMongo's."""
    if isinstance(session, ClientSession):
        return SessionWriter(session, place)
    # Before PyMongo 4.9 there was no other kind, and who has one has imported this.
    asynchronous = sys.modules.get("pymongo.asynchronous.client_session")
    if asynchronous is not None and isinstance(session, asynchronous.AsyncClientSession):
        return AsyncSessionWriter(session, place)
    return None


def address_of(client: Any, place: Place) -> str:
    hosts = ",".join(f"{host}:{port}" for host, port in sorted(client.nodes)) or "not connected"
    return f"mongodb://{hosts}/{place.database}"


def identity_of(found: Document | None) -> Identity:
    own = (found or {}).get("identity")
    return (str(own),) if own else ()


def updates(row: OutboxRow) -> list[tuple[str, Document, list[Document]]]:
    """The updates, each an upsert, that insert *row*: a collection, a filter, and a pipeline.

    An insert of what is there already would end the transaction.
    """
    schedule = row.schedule
    due: Document = {}
    if row.delay is not None:
        # Only a pipeline has the server's clock.
        due = {"due": {"$add": ["$$NOW", row.delay // timedelta(milliseconds=1)]}}
    document = {"_id": schedule.schedule_id, **records.schedule_document(schedule)}
    found = [("schedule", {"_id": schedule.schedule_id}, _unless_there("status", document, due))]
    if row.event is not None:
        event = records.document(records.parts_of(fit(row.event)))
        found.append(("task", {"_id": row.event.task_id}, _unless_there("date_created", event, {})))
    return found


def _unless_there(always: str, document: Document, computed: Document) -> list[Document]:
    """The pipeline that makes *document* of nothing, and changes none that has the field *always*.

    As a literal, for its keys and texts are no operators.
    """
    whole = {"$mergeObjects": [{"$literal": document}, computed]}
    is_new = {"$eq": [{"$type": f"${always}"}, "missing"]}
    return [{"$replaceWith": {"$cond": [is_new, whole, "$$ROOT"]}}]
