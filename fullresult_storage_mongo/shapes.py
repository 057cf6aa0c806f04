"""Shapes of messages, in MongoDB."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable
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
_COMPRESSION = '"compression"'
_TAGGED = {TAG}


# Whole fields, though values come with them: they come in the body anyway, and for the server to
# measure arguments and name their keys takes longer than to send and decode both.
_FIELDS = dict.fromkeys(
    (
        *("date_created", "name", "queue", "content_type", "body", "args", "kwargs", "embed"),
        *("eta", "properties", "notes"),
    ),
    1,
)


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
        args, kwargs = get("args"), get("kwargs")
        if _is_apart(get, args, kwargs):
            apart.append(last["_id"])
            continue
        positional = len(args) if args.__class__ is list else None
        names = tuple(kwargs) if kwargs.__class__ is dict else None
        properties, notes = get("properties"), get("notes")
        if properties is not None and _COMPRESSION not in properties:
            properties = None  # most have some of their own
        is_old = notes is not None and PROTOCOL_1 in notes
        kind = (get("content_type"), properties, positional, names, is_old)
        told = counted.get(key := (get("name"), get("queue"), *kind))
        if told is None:
            counted[key] = [1, last["_id"], last["date_created"], get("eta")]
        else:
            told[0] += 1
            told[2] = last["date_created"]  # the oldest come first
            if (due := get("eta")) is not None:
                told[3] = min(filter(None, (told[3], due)))
    if last is None:
        return ShapePage((), (), None)
    shapes = tuple(_shape(key, told) for key, told in counted.items())
    return ShapePage(shapes, tuple(apart), cursor_of(last["date_created"], last["_id"]))


def _is_apart(get: Callable[[str], Any], args: Any, kwargs: Any) -> bool:
    """True if it carries other tasks, or if its arguments are to be looked at one by one."""
    body, name = get("body"), get("name")
    if body is not None and (_LINK in body or args is None or kwargs is None):
        return True
    if get("embed") is not None or (name is not None and name.startswith("celery.")):
        return True
    # JSON text that is no JSON, or that BSON cannot hold.
    return args.__class__ is dict or (kwargs.__class__ is dict and kwargs.keys() == _TAGGED)


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
