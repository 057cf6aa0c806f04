"""The lines of a spool file: an event, a withdrawal or a chord's count, each with a checksum.

A line is ASCII: eight hexadecimal digits of CRC-32, a letter for the kind and its version, and JSON
in which bytes are base64 and dates are milliseconds since 1970. There is no pickle.
"""

from __future__ import annotations

import dataclasses
import json
from base64 import b64decode, b64encode
from binascii import crc32
from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple

from fullresult.record import (
    Entry,
    Message,
    Outcome,
    OwnMessage,
    Start,
    Stored,
    TaskRecord,
    not_run,
)
from fullresult.record.dates import from_milliseconds, to_milliseconds

_EVENT, _WITHDRAWAL, _COUNT = b"E", b"W", b"C"
_CHECKED = 8
"""Characters of the checksum, which covers the rest of the line."""


class Unreadable(ValueError):
    """The line is torn, was changed, or was written by another version."""


class Withdrawal(NamedTuple):
    """A schedule that may have been stored and must not be claimed."""

    schedule_id: str


class Count(NamedTuple):
    """A member of a chord that has ended and is not counted yet."""

    chord_id: str
    member: str
    size: int
    expire_at: datetime | None
    call: str
    """The name of the call that counts it, the same each time the call is repeated."""
    callback: str
    """The body of the chord, as kombu's JSON."""
    end: bytes | None = None
    """What is to be kept of its end before it is counted, if anything is."""


Frame = TaskRecord | Withdrawal | Count


def encode(frame: Frame) -> bytes:
    """*frame* as a line, with the newline."""
    if isinstance(frame, TaskRecord):
        kind, value = _EVENT, _fields(frame)
    else:
        kind, value = _COUNT if isinstance(frame, Count) else _WITHDRAWAL, frame
    checked = kind + _JSON.encode(value).encode("ascii")
    return b"%08x%b\n" % (crc32(checked), checked)


def decode(line: bytes) -> Frame:
    """The frame of *line*, which has no newline. Raises `Unreadable`."""
    checked = line[_CHECKED:]
    if line[:_CHECKED] != b"%08x" % crc32(checked):
        raise Unreadable(f"a line of {len(line)} bytes is torn or was changed")
    try:
        return _READERS[checked[:1]](json.loads(checked[1:]))
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise Unreadable(f"a line of another version, or none of ours: {error!r}") from error


def _fields(event: TaskRecord) -> tuple[Any, ...]:
    # In the order of the class: `TaskRecord(*fields)` is the event again.
    return (
        event.task_id,
        event.date_created,
        event.date_updated,
        event.date_published,
        event.outcome and not_run.as_written(event.outcome),
        event.message,
        event.start,
        event.stored,
        event.entries,
        event.resent,
        event.published_again,
        event.own,
    )


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return to_milliseconds(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return b64encode(value).decode("ascii")
    raise TypeError(f"nothing of this type is in an event: {value!r}")


_JSON = json.JSONEncoder(default=_plain, separators=(",", ":"), check_circular=False)


def _event(values: list[Any]) -> TaskRecord:
    fields = values[: len(dataclasses.fields(TaskRecord))]
    # Lines of an older version have fewer.
    fields += [None] * (len(dataclasses.fields(TaskRecord)) - len(fields))
    task_id, created, updated, published, outcome, message, start, stored, entries = fields[:9]
    resent, again, own = fields[9:]
    known = _part(Outcome, outcome, dates=_DATES_OF_OUTCOME)
    return TaskRecord(
        _text(task_id),
        from_milliseconds(created),
        from_milliseconds(updated),
        _date(published),
        known and not_run.as_read(known),
        _part(Message, message, dates=_DATES_OF_MESSAGE, bodies=_BODY_OF_MESSAGE),
        _part(Start, start, dates=_DATES_OF_START),
        _part(Stored, stored, bodies=_BODY_OF_STORED),
        tuple(_part(Entry, entry, dates=_DATES_OF_ENTRY) for entry in entries),
        None if resent is None else _text(resent),
        again,
        _part(OwnMessage, own),
    )


def _part(
    make: Any,
    values: list[Any] | None,
    *,
    dates: tuple[int, ...] = (),
    bodies: tuple[int, ...] = (),
) -> Any:
    """The part of these *values*, without fields that only a newer version knows."""
    if values is None:
        return None
    return make(*_restored(values[: len(make._fields)], dates, bodies))


def _restored(values: list[Any], dates: tuple[int, ...], bodies: tuple[int, ...]) -> list[Any]:
    for place in dates:
        if place < len(values):  # a field added later may be missing
            values[place] = _date(values[place])
    for place in bodies:
        if place < len(values) and values[place] is not None:
            values[place] = b64decode(values[place], validate=True)
    return values


def _date(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else from_milliseconds(milliseconds)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"an id is text, not {value!r}")
    return value


def _places(part: Any, *names: str) -> tuple[int, ...]:
    return tuple(part._fields.index(name) for name in names)


_DATES_OF_OUTCOME = _places(Outcome, "date_started", "date_done", "stale_from", "expire_at")
_DATES_OF_MESSAGE = _places(Message, "eta", "expires")
_BODY_OF_MESSAGE = _places(Message, "body")
_DATES_OF_START = _places(Start, "date_started")
_BODY_OF_STORED = _places(Stored, "body")
_DATES_OF_ENTRY = _places(Entry, "date_started", "date_done")
_DATES_OF_COUNT = _places(Count, "expire_at")
_BODY_OF_COUNT = _places(Count, "end")

_READERS: dict[bytes, Callable[[list[Any]], Frame]] = {
    _EVENT: _event,
    _WITHDRAWAL: lambda values: Withdrawal(_text(values[0])),
    _COUNT: lambda values: _part(Count, values, dates=_DATES_OF_COUNT, bodies=_BODY_OF_COUNT),
}
