"""JSON Schemas of what is answered, made from the types of what is found."""

from __future__ import annotations

import types
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from fullresult.record import TaskRecord

Schema = dict[str, Any]

DATE: Schema = {"type": "string", "format": "date-time"}
TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
ANYTHING: Schema = {"description": "Any JSON value."}
_PLAIN: dict[Any, Schema] = {
    Any: ANYTHING,
    str: TEXT,
    int: WHOLE,
    # What is no number is text in JSON: "nan".
    float: {"type": ["number", "string"]},
    bool: FLAG,
    datetime: DATE,
    timedelta: TEXT,
    type(None): {"type": "null"},
}


def or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def list_of(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def of(**members: Schema) -> Schema:
    """An object that has all of *members*."""
    return {"type": "object", "properties": members, "required": list(members)}


def with_more(schema: Schema, **members: Schema) -> Schema:
    """An object as *schema* says, with *members* besides, or instead."""
    return of(**{**schema["properties"], **members})


def without(schema: Schema, *names: str) -> Schema:
    return of(**{n: each for n, each in schema["properties"].items() if n not in names})


def ref(name: str) -> Schema:
    """A schema of `fullresult.web.api.shapes`."""
    return {"$ref": f"#/components/schemas/{name}"}


def of_type(kind: Any) -> Schema:  # noqa: PLR0911  (a case for each kind of type)
    """The schema of what `plain` makes of a value of this type."""
    if kind is TaskRecord:
        return ref("Task")
    if kind in _PLAIN:
        return _PLAIN[kind]
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [of_type(each) for each in inner]}
    if origin in (tuple, list, frozenset, Sequence, Collection):
        return list_of(of_type(inner[0]) if inner else ANYTHING)
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": of_type(inner[1])}
    if is_dataclass(kind) or hasattr(kind, "_fields"):
        return of_fields(kind)
    raise TypeError(f"no schema is known of {kind!r}")


def of_fields(kind: Any, left_out: Collection[str] = ()) -> Schema:
    """The schema of a dataclass or a named tuple, without some of its fields."""
    names = [each.name for each in fields(kind)] if is_dataclass(kind) else kind._fields
    hints = get_type_hints(kind)
    return of(**{name: of_type(hints[name]) for name in names if name not in left_out})
