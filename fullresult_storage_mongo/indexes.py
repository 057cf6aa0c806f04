"""Makes what `setup` promises: collections, and an index for each question that is asked often.

Any number of processes may make them at once, and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import uuid4

from pymongo import IndexModel
from pymongo.collection import Collection
from pymongo.errors import CollectionInvalid, OperationFailure

from fullresult.storage import OPEN
from fullresult_storage_mongo.caller_sessions import SCHEMA
from fullresult_storage_mongo.chords import COMPLETE, LOOKED_AT
from fullresult_storage_mongo.clients import Document, Handle
from fullresult_storage_mongo.matching import is_name
from fullresult_storage_mongo.queries import MOVING, NOT_PENDING
from fullresult_storage_mongo.records import CLAIMED, WAITING

VERSION = 12
LARGE = 100_000
"""Documents of a collection from which only `setup` builds an index."""
_WITHDRAWN_FOR = 7 * 86_400
"""Seven days: no schedule is on its way as long, so its withdrawal may be forgotten."""
_EXISTS, _NOT_FOUND = 48, 27
_EXPIRY = IndexModel(
    [("expire_at", 1)],
    name="expiry",
    expireAfterSeconds=0,
    partialFilterExpression={"expire_at": {"$type": "date"}},
)
_OLD_EXPIRY = "expire"
"""The index of version 1 had all documents with the field, also those with null in it."""

_TEXT = {"$gte": ""}
"""Matches any text and nothing else. MongoDB sees that a query for one text is within it."""
_MOVING: Document = {"bucket": OPEN, **NOT_PENDING}
"""What is open and does not just wait: little, however much does."""
_TASKS = (
    IndexModel([("date_created", 1), ("_id", 1)], name="created"),
    IndexModel(
        [("bucket", 1), ("date_created", 1), ("_id", 1)],
        name="bucket",
        partialFilterExpression={"bucket": _TEXT},
    ),
    IndexModel(
        [("state", 1), ("date_created", 1), ("_id", 1)],
        name=MOVING,
        partialFilterExpression=_MOVING,
    ),
    IndexModel([("name", 1), ("date_created", 1), ("_id", 1)], name="name"),
    IndexModel(
        [("other_root", 1), ("date_created", 1)],
        name="root",
        partialFilterExpression={"other_root": _TEXT},
    ),
    IndexModel(
        [("group_id", 1), ("date_created", 1)],
        name="group",
        partialFilterExpression={"group_id": _TEXT},
    ),
    IndexModel([("retry_of", 1)], name="retry_of", partialFilterExpression={"retry_of": _TEXT}),
    IndexModel(
        [("fingerprint", 1), ("date_done", 1), ("_id", 1), ("resent", 1)],
        name="failure",
        partialFilterExpression={"fingerprint": _TEXT},
    ),
    IndexModel(
        [("fingerprint", 1), ("date_created", 1), ("_id", 1)],
        name="failure created",
        partialFilterExpression={"fingerprint": _TEXT},
    ),
    _EXPIRY,
)
_SCHEDULES = (
    IndexModel(
        [("namespace", 1), ("due", 1), ("_id", 1)],
        name="waiting",
        partialFilterExpression={"status": WAITING},
    ),
    IndexModel([("due", 1), ("_id", 1)], name="due"),
    IndexModel(
        [("due", 1), ("_id", 1)],
        name="claimed",
        partialFilterExpression={"status": CLAIMED},
    ),
    IndexModel([("task_id", 1)], name="task"),
    IndexModel(
        [("date_withdrawn", 1)],
        name="withdrawn",
        expireAfterSeconds=_WITHDRAWN_FOR,
        partialFilterExpression={"date_withdrawn": {"$exists": True}},
    ),
    IndexModel(
        [("pending_since", 1)],
        name="pending",
        partialFilterExpression={"pending_since": {"$exists": True}},
    ),
)
_COMPLETE = IndexModel([("joined_at", 1)], name="complete", partialFilterExpression=COMPLETE)
_LOOKED_AT = IndexModel([("look_at", 1)], name="look_at", partialFilterExpression=LOOKED_AT)
_MEMBERS = IndexModel([("birth", 1), ("members", 1)], name="members")
_REPLAYED = IndexModel([("replay_id", 1), ("position", 1)], name="position")
_AUDIT = (
    IndexModel([("at", 1), ("_id", 1)], name="at"),
    *(IndexModel([(n, 1), ("at", 1), ("_id", 1)], name=n) for n in ("actor", "action", "task_ids")),
)


def set_up(handle: Handle, index_kwargs: Sequence[str]) -> None:
    own = (handle.tasks, handle.schedules, handle.sweeps, handle.workers, handle.versions)
    for collection in (
        *own,
        handle.cards,
        handle.names,
        handle.failures,
        handle.audit,
        handle.replays,
        handle.replayed,
        handle.pauses,
    ):
        _create(collection)
    for collection in (handle.groups, handle.chords, handle.segments):
        _create(collection)
        collection.create_indexes([_EXPIRY])
    handle.chords.create_indexes([_COMPLETE, _LOOKED_AT])
    handle.segments.create_indexes([_MEMBERS])
    handle.tasks.create_indexes([*_TASKS, *map(_argument, _fit(index_kwargs))])
    _drop_index(handle.tasks, _OLD_EXPIRY)
    handle.schedules.create_indexes([*_SCHEDULES])
    handle.audit.create_indexes([*_AUDIT])
    handle.replayed.create_indexes([_REPLAYED])
    update = {"$max": {"version": VERSION}, "$addToSet": {"kwargs": {"$each": _fit(index_kwargs)}}}
    handle.versions.update_one({"_id": SCHEMA}, update, upsert=True)
    nameless = {"_id": SCHEMA, "identity": None}
    handle.versions.update_one(nameless, {"$set": {"identity": uuid4().hex}})


class State(NamedTuple):
    is_current: bool
    """The collections and their indexes are those of this version."""
    has_kwargs: bool
    """There is an index for each of the keyword arguments, too."""
    is_large: bool
    """To build an index takes longer than a call may."""


def of_arguments(handle: Handle) -> list[str]:
    """The keyword arguments that have an index."""
    found = handle.versions.find_one({"_id": SCHEMA}) or {}
    return list(found.get("kwargs", ()))


def state(handle: Handle, index_kwargs: Sequence[str]) -> State:
    found = handle.versions.find_one({"_id": SCHEMA}) or {}
    is_current = found.get("version", 0) >= VERSION
    has_kwargs = {*_fit(index_kwargs)} <= {*found.get("kwargs", ())}
    is_complete = is_current and has_kwargs
    size = 0 if is_complete else handle.tasks.estimated_document_count()
    return State(is_current, has_kwargs, is_large=size > LARGE)


def _create(collection: Collection[Document]) -> None:
    try:
        collection.database.create_collection(collection.name)
    except CollectionInvalid:
        pass
    except OperationFailure as error:
        if error.code != _EXISTS:
            raise


def _drop_index(collection: Collection[Document], name: str) -> None:
    # Asked before: to drop one waits for every open transaction, and all others wait for that.
    if name not in collection.index_information():
        return
    try:
        collection.drop_index(name)
    except OperationFailure as error:  # another process was faster
        if error.code != _NOT_FOUND:
            raise


def _fit(index_kwargs: Sequence[str]) -> list[str]:
    """The keys that can name a field. Others are searched for without an index."""
    return [key for key in index_kwargs if is_name(key)]


def _argument(key: str) -> IndexModel:
    field = f"kwargs.{key}"
    keys: list[tuple[str, Any]] = [(field, 1), ("date_created", 1), ("_id", 1)]
    return IndexModel(
        keys, name=f"argument {key}", partialFilterExpression={field: {"$exists": True}}
    )
