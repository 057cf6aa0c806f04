"""The fields of a request: each says its name, what it takes, and how that is read.

A field stands in a query string or in the JSON object of a body. The OpenAPI document is made from
the same fields that read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from fullresult.insight import dates
from fullresult.record import encoding
from fullresult.record.query import TaskQuery

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams

LONGEST_TEXT = 4_000
_SHOWN = 60
_DIGITS = 18

Schema = Mapping[str, Any]
Read = Callable[[Any, datetime], Any]
"""Makes the value of what JSON holds, at a time. Raises `ValueError` with a sentence."""


class Wrong(ValueError):
    """A request that means nothing; the message says why, and *name* is the field's."""

    def __init__(self, text: str, name: str | None = None) -> None:
        super().__init__(text)
        self.name = name


class Kind(NamedTuple):
    """What a field takes."""

    schema: Schema
    read: Read
    of_text: Callable[[str], Any] = str
    """Reads it from a query string, where there is text alone. Raises `ValueError`."""
    in_json: bool = False
    """True if a query string has it as JSON."""


@dataclass(frozen=True)
class Field:
    """One field of a request."""

    name: str
    kind: Kind
    about: str
    required: bool = False
    many: int = 0
    """The most values that it may have; 0: it has one, and no list of them."""
    default: Any = None
    """The value if it is not given, as JSON has it."""
    names_task: bool = False
    """True if it is the id of a task, of which a beginning that no other has is enough."""

    @property
    def schema(self) -> dict[str, Any]:
        found = dict(self.kind.schema)
        if self.default is not None:
            found["default"] = self.default
        if not self.many:
            return found
        fewest = {"minItems": 1} if self.required else {}
        return {"type": "array", "items": found, **fewest, "maxItems": self.many}

    @property
    def told(self) -> str:
        """What it is, in the OpenAPI document."""
        short = " Its id; of a UUID, a beginning of 4 characters or more that no other id has."
        return f"{self.about}{short if self.names_task else ''}"

    def value(self, given: Any, now: datetime) -> Any:
        """The value of what JSON holds. Raises `Wrong`."""
        if not self.many:
            return self._one(given, now)
        if not isinstance(given, list):
            raise Wrong(f"{self.name} must be a list, not {shown(given)}.", self.name)
        if len(given) > self.many:
            text = f"{self.name} has {len(given):,} values; {self.many:,} is the most."
            raise Wrong(text, self.name)
        if self.required and not given:
            raise Wrong(f"{self.name} is an empty list; give at least one.", self.name)
        return tuple(self._one(each, now) for each in given)

    def _one(self, given: Any, now: datetime) -> Any:
        try:
            return self.kind.read(given, now)
        except ValueError as error:
            raise Wrong(f"{self.name}: {error}", self.name) from None


def read_query(fields: Sequence[Field], asked: QueryParams, now: datetime) -> dict[str, Any]:
    """The values of a query string by name. Raises `Wrong`."""
    given: dict[str, Any] = {}
    known = {field.name: field for field in fields}
    for name in asked:
        if name not in known:
            raise Wrong(_unknown(name, known), name[:_SHOWN])
        field, texts = known[name], asked.getlist(name)
        if len(texts) > 1 and not field.many:
            raise Wrong(f"{name} stands there {len(texts)} times; give it once.", name)
        try:
            values = [field.kind.of_text(text) for text in texts]
        except ValueError as error:
            raise Wrong(f"{name}: {error}", name) from None
        given[name] = values if field.many else values[0]
    return read_object(fields, given, now)


def read_object(fields: Sequence[Field], given: Any, now: datetime) -> dict[str, Any]:
    """The values of a JSON object by name; a null is as if it were not given. Raises `Wrong`."""
    if not isinstance(given, dict):
        raise Wrong(f"The body must be a JSON object, not {shown(given)}.")
    known = {field.name: field for field in fields}
    for name in given:
        if name not in known:
            raise Wrong(_unknown(name, known), name[:_SHOWN])
    found: dict[str, Any] = {}
    for field in fields:
        value = given.get(field.name)
        value = field.default if value is None else value
        if value is not None:
            found[field.name] = field.value(value, now)
        elif field.required:
            raise Wrong(f"{field.name} is missing: {field.about}", field.name)
    return found


def shown(value: Any) -> str:
    """*value* in a sentence, short."""
    return encoding.clip(encoding.safe_repr(value), _SHOWN)


def _unknown(name: str, known: Mapping[str, Field]) -> str:
    there = ", ".join(known) or "none"
    return f"There is no field {shown(name)} here; there are {there}."


# --- kinds


def text(longest: int = LONGEST_TEXT) -> Kind:
    """Text that is not empty."""

    def read(value: Any, _: datetime) -> str:
        if not isinstance(value, str) or not value:
            raise ValueError(f"it must be text, not {shown(value)}")
        if len(value) > longest:
            raise ValueError(f"it has {len(value):,} characters; {longest:,} is the most")
        return value

    return Kind({"type": "string", "minLength": 1, "maxLength": longest}, read)


def whole(least: int, most: int) -> Kind:
    """A whole number."""

    def read(value: Any, _: datetime) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            reach = f"a whole number from {least:,} to {most:,}"
            raise ValueError(f"it must be {reach}, not {shown(value)}")
        return value

    def of_text(given: str) -> int | str:
        is_number = given.isascii() and given.isdecimal() and len(given) <= _DIGITS
        return int(given) if is_number else given

    return Kind({"type": "integer", "minimum": least, "maximum": most}, read, of_text)


def number(least: float, most: float) -> Kind:
    """A number, whole or not."""

    def read(value: Any, _: datetime) -> float:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not least <= value <= most:
            raise ValueError(f"it must be a number from {least:g} to {most:g}, not {shown(value)}")
        return float(value)

    def of_text(given: str) -> float | str:
        try:
            return float(given)
        except ValueError:
            return given

    return Kind({"type": "number", "minimum": least, "maximum": most}, read, of_text)


def choice(*known: str) -> Kind:
    """One of some words."""

    def read(value: Any, _: datetime) -> str:
        if not isinstance(value, str) or value not in known:
            raise ValueError(f"it must be one of {', '.join(known)}, not {shown(value)}")
        return value

    return Kind({"type": "string", "enum": list(known)}, read)


def _flag(value: Any, _: datetime) -> bool:
    is_flag = isinstance(value, bool)
    if not is_flag:
        raise ValueError(f"it must be true or false, not {shown(value)}")
    return bool(value)


def _flag_of(given: str) -> bool | str:
    return {"true": True, "false": False}.get(given, given)


FLAG = Kind({"type": "boolean"}, _flag, _flag_of)


def _date_kind(read_text: Callable[[str, datetime], datetime | timedelta]) -> Kind:
    words = text(100)

    def read(value: Any, now: datetime) -> datetime | timedelta:
        return read_text(words.read(value, now), now)

    return Kind({"type": "string", "minLength": 1, "maxLength": 100}, read)


def _cursor(value: Any, now: datetime) -> str:
    words = str(text(500).read(value, now))
    try:
        TaskQuery(after=words)  # all listings write them alike
    except ValueError:
        raise ValueError(
            f"{shown(words)} is no cursor; give the `next` of the page before"
        ) from None
    return words


CURSOR = Kind({"type": "string", "minLength": 1, "maxLength": 500}, _cursor)

PAST = _date_kind(dates.past)
"""How long ago (`2h`), or an ISO date, in UTC unless it says otherwise."""
MOMENT = _date_kind(dates.moment)
"""A time that may be to come: `in 2h`, `2h ago`, an ISO date."""
DUE = _date_kind(dates.due)
"""The same; or, of `+1h`, a length of time."""


def _length(value: Any, now: datetime) -> timedelta:
    return dates.length(str(text(100).read(value, now)))


LENGTH = Kind({"type": "string", "minLength": 1, "maxLength": 100, "examples": ["90m"]}, _length)
"""A length of time: `90m`, `1h30m`, `2d`."""


def _json_of(given: str) -> Any:
    try:
        return encoding.loads_strict(given)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"it must be JSON, not {shown(given)} ({error})") from None


def _typed(kind: type, schema: Schema, word: str) -> Kind:
    def read(value: Any, _: datetime) -> Any:
        is_one = isinstance(value, kind)
        if not is_one:
            raise ValueError(f"it must be {word}, not {shown(value)}")
        try:
            encoding.dumps_strict(value)
        except encoding.Unstorable as error:
            raise ValueError(f"no record has it: {error}") from None
        return value

    return Kind(schema, read, _json_of, in_json=True)


ARRAY = _typed(list, {"type": "array"}, "a JSON array")
OBJECT = _typed(dict, {"type": "object"}, "a JSON object")
