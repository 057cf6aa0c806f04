"""Shapes of messages, in MongoDB."""

from __future__ import annotations

import json
from abc import abstractmethod
from functools import lru_cache
from typing import Any

from fullresult.record import PROTOCOL_1, Shape, cursor_of
from fullresult.storage import ShapePage, TaskQuery
from fullresult_storage_mongo import queries
from fullresult_storage_mongo.clients import Document, Handle
from fullresult_storage_mongo.database import Database
from fullresult_storage_mongo.values import TAG, original_key

_LINK = b"subtask_type"
"""Every signature has this word in its body, whatever serialised it."""


def _if(condition: Document, then: Any) -> Document:
    """A field that most documents lack: each that is read costs as much as all that is done."""
    return {"$cond": [condition, then, "$$REMOVE"]}


def _has(part: str, text: str) -> Document:
    return {"$gte": [{"$indexOfBytes": [{"$ifNull": [f"${part}", ""]}, text]}, 0]}


def _is_object(part: str) -> Document:
    return {"$eq": [{"$type": f"${part}"}, "object"]}


def _lacks(part: str) -> Document:
    return {"$lte": [f"${part}", None]}


_NAMES: Document = {"$map": {"input": {"$objectToArray": "$kwargs"}, "in": "$$this.k"}}
_APART: Document = {
    "$or": [
        {"$gt": ["$embed", None]},
        {"$and": [{"$gte": ["$name", "celery."]}, {"$lt": ["$name", "celery/"]}]},
        {"$and": [{"$gt": ["$body", None]}, {"$or": [_lacks("args"), _lacks("kwargs")]}]},
        _is_object("args"),  # JSON text that is no JSON, or that BSON cannot hold
    ]
}
# The server measures arguments and names their keys, so that no value is sent. What a body has in
# it only the client can tell.
_FIELDS: Document = {
    "date_created": 1,
    "name": 1,
    "queue": 1,
    "content_type": 1,
    "body": 1,
    "eta": _if({"$gt": ["$eta", None]}, "$eta"),
    "apart": _if(_APART, True),
    "properties": _if(_has("properties", '"compression"'), "$properties"),
    "notes": _if(_has("notes", PROTOCOL_1), True),
    "positional": _if({"$isArray": "$args"}, {"$size": "$args"}),
    "keywords": _if(_is_object("kwargs"), _NAMES),
}


class MongoShapes:
    """A `fullresult.storage.ShapeStorage`."""

    @abstractmethod
    def _prepared(self) -> Database:
        """The database, all collections and indexes known to be there."""

    def shapes(self, query: TaskQuery) -> ShapePage:
        database = self._prepared()
        return database.read(lambda handle: _shapes(handle, query))


def _shapes(handle: Handle, query: TaskQuery) -> ShapePage:
    counted: dict[tuple[Any, ...], list[Any]] = {}
    apart: list[str] = []
    last: Document | None = None
    for last in _page(handle, query):
        get = last.get
        body, keywords = get("body"), get("keywords")
        if "apart" in last or (body is not None and _LINK in body) or keywords == [TAG]:
            apart.append(last["_id"])
            continue
        names = None if keywords is None else tuple(keywords)
        kind = (get("content_type"), get("properties"), get("positional"), names, get("notes"))
        told = counted.get(key := (get("name"), get("queue"), *kind))
        if told is None:
            counted[key] = [1, last["_id"], last["date_created"], get("eta")]
        else:
            told[0] += 1
            told[2] = last["date_created"]  # the oldest come first
            if "eta" in last:
                told[3] = min(filter(None, (told[3], last["eta"])))
    if last is None:
        return ShapePage((), (), None)
    shapes = tuple(_shape(key, told) for key, told in counted.items())
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


def _shape(key: tuple[Any, ...], told: list[Any]) -> Shape:
    name, queue, content_type, properties, positional, keywords, is_old = key
    compression = None if properties is None else json.loads(properties).get("compression")
    known = (content_type, compression, positional, _names(keywords), 1 if is_old else 2)
    return Shape._make((name, queue, *known, *told))


@lru_cache(256)
def _names(keywords: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The names of keyword arguments, sorted, as they were given."""
    return None if keywords is None else tuple(sorted(map(original_key, keywords)))
