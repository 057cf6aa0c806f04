"""Conditions on a task's arguments, in MongoDB's words.

A path such as "kwargs.a.b" looks into arrays, and stops at keys with dots and dollars: it finds an
index, and too many records. An expression then decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fullresult.storage import as_recorded
from fullresult_storage_mongo.clients import Document
from fullresult_storage_mongo.merging import literal
from fullresult_storage_mongo.values import TAG, fitting, key_of, ordered

Path = tuple[str, ...]


def keywords(asked: Mapping[str, Any]) -> Iterator[Document]:
    """`TaskQuery.kwargs`."""
    value = ordered(as_recorded(dict(asked)))
    yield {"kwargs": {"$type": "object"}}
    for path, leaf in _leaves(value):
        yield from _indexed("kwargs", path, leaf)
    yield {"$expr": {"$and": list(_parts("$kwargs", value))}}


def positional(asked: Sequence[tuple[int, Any]]) -> Iterator[Document]:
    """`TaskQuery.places`."""
    values = [(place, ordered(as_recorded(value))) for place, value in asked]
    if not values:
        return
    longest = max(place for place, _ in values) + 1
    conditions: list[Document] = [{"$gte": [{"$size": "$$args"}, longest]}]
    for place, value in values:
        conditions += _parts({"$arrayElemAt": ["$$args", place]}, value)
    args = {"$cond": [{"$isArray": ["$args"]}, "$args", literal([])]}
    yield {"$expr": {"$let": {"vars": {"args": args}, "in": {"$and": conditions}}}}


def is_name(key: str) -> bool:
    """True if *key* stands for itself in a path."""
    return key.replace("-", "_").isidentifier()


def _indexed(field: str, path: Path, leaf: Any) -> Iterator[Document]:
    if path and all(map(is_name, path)) and isinstance(leaf, (str, int, float)):
        value = fitting(leaf)
        if not isinstance(value, dict):
            yield {".".join((field, *path)): {"$eq": value}}


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The (path, value) of everything in nested objects that is no object itself."""
    if not isinstance(value, dict):
        yield path, value
        return
    for key, item in value.items():
        yield from _leaves(item, (*path, key))


def _parts(stored: Any, asked: Any, depth: int = 0) -> Iterator[Document]:
    """An expression: *stored* equals *asked*, or has all its keys if it is an object."""
    value = fitting(asked, depth)
    if not isinstance(asked, dict) or value.keys() == {TAG}:
        yield {"$eq": [stored, literal(value)]}
        return
    # The field of a null would be null.
    yield {"$eq": [{"$type": stored}, "object"]}
    if not asked:
        # A `{"$fullresult": …}` is an object, too, and stands for something else.
        yield {"$not": {"$regexMatch": {"input": _field(stored, TAG), "regex": "^[^{]"}}}
    for key, item in asked.items():
        yield from _parts(_field(stored, key_of(key)), item, depth + 1)


def _field(stored: Any, key: str) -> Document:
    return {"$getField": {"field": literal(key), "input": stored}}
