"""Shapes of messages, in MongoDB."""

from __future__ import annotations

import json
from abc import abstractmethod
from datetime import datetime
from typing import Any

from fullresult.record import PROTOCOL_1, Shape, cursor_of
from fullresult.storage import ShapePage, TaskQuery
from fullresult_storage_mongo import queries
from fullresult_storage_mongo.clients import Document, Handle
from fullresult_storage_mongo.database import Database
from fullresult_storage_mongo.values import TAG, original_key

_LINK = b"subtask_type"
"""Every signature has this word in its body, whatever serialised it."""


def _only_if(part: str, has: str) -> Document:
    """A field's text if *has* is in it, which few do."""
    found = {"$indexOfBytes": [{"$ifNull": [f"${part}", ""]}, has]}
    return {"$cond": [{"$gte": [found, 0]}, f"${part}", None]}


def _type_of(part: str) -> Document:
    return {"$type": f"${part}"}


# The server measures arguments and names their keys, so that no value is sent. What a body has in
# it only the client can tell.
_FIELDS: Document = {
    "date_created": 1,
    "name": 1,
    "queue": 1,
    "content_type": 1,
    "eta": 1,
    "body": 1,
    "embed": {"$ne": [{"$ifNull": ["$embed", None]}, None]},
    "properties": _only_if("properties", '"compression"'),
    "notes": _only_if("notes", PROTOCOL_1),
    "args": _type_of("args"),
    "kwargs": _type_of("kwargs"),
    "positional": {"$cond": [{"$isArray": "$args"}, {"$size": "$args"}, None]},
    "keywords": {
        "$cond": [
            {"$eq": [_type_of("kwargs"), "object"]},
            {"$map": {"input": {"$objectToArray": "$kwargs"}, "in": "$$this.k"}},
            None,
        ]
    },
}


class MongoShapes:
    """A `fullresult.storage.ShapeStorage`."""

    @abstractmethod
    def _prepared(self) -> Database:
        """The database, all collections and indexes known to be there."""

    def shapes(self, query: TaskQuery) -> ShapePage:
        database = self._prepared()
        return database.read(lambda handle: _shapes(handle, query))


_Key = tuple[Any, ...]
_Told = tuple[int, str, datetime, datetime | None]
"""Number, example, newest, first due."""


def _shapes(handle: Handle, query: TaskQuery) -> ShapePage:
    counted: dict[_Key, _Told] = {}
    apart: list[str] = []
    last: Document | None = None
    for last in _page(handle, query):
        if _is_apart(last):
            apart.append(last["_id"])
        else:
            key = _key(last)
            counted[key] = _with(counted.get(key), last)
    if last is None:
        return ShapePage((), (), None)
    shapes = tuple(Shape._make((*key, *told)) for key, told in counted.items())
    return ShapePage(shapes, tuple(apart), cursor_of(last["date_created"], last["_id"]))


def _page(handle: Handle, query: TaskQuery) -> Any:
    # Converting each date's zone would take as long as all the rest.
    in_utc = handle.tasks.codec_options.with_options(tzinfo=None)
    return handle.tasks.with_options(codec_options=in_utc).find(
        queries.page(handle, query, queries.names(handle, query)),
        _FIELDS,
        sort=queries.order(query),
        limit=query.limit or 0,
        allow_disk_use=True,
    )


def _is_apart(found: Document) -> bool:
    body = found.get("body")
    kinds = (found["args"], found["kwargs"])
    return (
        found["embed"]
        or (found.get("name") or "").startswith("celery.")
        or (body is not None and (_LINK in body or not {"null", "missing"}.isdisjoint(kinds)))
        # JSON text that is no JSON, or that BSON cannot hold
        or found["args"] == "object"
        or found["keywords"] == [TAG]
    )


def _key(found: Document) -> _Key:
    """The fields of its shape, up to those that are counted."""
    keywords = found["keywords"]
    properties = found["properties"]
    return (
        found.get("name"),
        found.get("queue"),
        found.get("content_type"),
        None if properties is None else json.loads(properties).get("compression"),
        found["positional"],
        None if keywords is None else tuple(sorted(map(original_key, keywords))),
        2 if found["notes"] is None else 1,
    )


def _with(told: _Told | None, found: Document) -> _Told:
    """What is told of a shape, and of one more record, which is newer."""
    due, created = found.get("eta"), found["date_created"]
    if told is None:
        return 1, found["_id"], created, due
    number, example, newest, first = told
    return number + 1, example, max(newest, created), min(filter(None, (first, due)), default=None)
