"""Records as table rows, and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timezone
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple, TypeVar

from fullresult.record import (
    Entry,
    Message,
    Outcome,
    OwnMessage,
    Sample,
    Schedule,
    Start,
    Stored,
    TaskRecord,
    Worker,
    WorkerCard,
    fold,
    from_milliseconds,
    not_run,
)

Parameter = str | bytes | None
Native = Parameter | float
P = TypeVar("P", bound=NamedTuple)

DATES = ("date_created", "date_updated", "date_published")
OUTCOME = ("outcome_stamp", *Outcome._fields[1:])
MESSAGE = ("message_stamp", *Message._fields[1:])
START = ("start_stamp", "start_worker", "start_date")
STORED = tuple(f"stored_{name}" for name in Stored._fields)
RESENT = "resent"
AGAIN = ("again_stamp",)
OWN = ("own_stamp", "own_message")
COLUMNS = ("task_id", *DATES, *OUTCOME, *MESSAGE, *START, *STORED, RESENT, *AGAIN, *OWN)
JSON = {"result": "json", "args": "jsonb", "kwargs": "jsonb"}
"""Columns of JSON, and their types in PostgreSQL."""

MOST_ENTRIES = 1_000
"""The newest executions that are kept of each task; the statements have the number, too."""

_AS_IT_IS = frozenset({str, bytes, type(None)})
_NATIVE = _AS_IT_IS | {float}
_NO_OUTCOME = (None,) * len(OUTCOME)
_NO_MESSAGE = (None,) * len(MESSAGE)
_NO_START = (None,) * len(START)
_NO_STORED = (None,) * len(STORED)
_NO_OWN = (None,) * len(OWN)
_OUTCOME_FROM = 1 + len(DATES)
_MESSAGE_FROM = _OUTCOME_FROM + len(OUTCOME)
_START_FROM = _MESSAGE_FROM + len(MESSAGE)
_STORED_FROM = _START_FROM + len(START)
_RESENT_AT = _STORED_FROM + len(STORED)
_AGAIN_AT = _RESENT_AT + 1
_OWN_FROM = _AGAIN_AT + len(AGAIN)
_CLAIM_FROM = Schedule._fields.index("claim")


class Kind(NamedTuple):
    """The parts that an event has beside its outcome: without one, less is sent and merged."""

    message: bool
    """Its own, or the note that there was another."""
    stored: bool
    resent: bool = False
    own: bool = False


KINDS = [Kind(*parts) for parts in product((True, False), repeat=len(Kind._fields))]


def kind_of(event: TaskRecord) -> Kind:
    has_message = event.message is not None or event.published_again is not None
    parts = (event.stored, event.resent, event.own)
    return Kind(has_message, *(part is not None for part in parts))


def kind_of_all(events: Sequence[TaskRecord]) -> Kind:
    """The kind with all parts that any of *events* has."""
    kinds = [kind_of(event) for event in events]
    return Kind._make(map(any, zip(*kinds, strict=True)))


def columns(kind: Kind) -> tuple[str, ...]:
    """The columns of events of this kind, in the order of `COLUMNS`."""
    message, again = (MESSAGE, AGAIN) if kind.message else ((), ())
    stored, resent = STORED if kind.stored else (), (RESENT,) if kind.resent else ()
    own = OWN if kind.own else ()
    return ("task_id", *DATES, *OUTCOME, *message, *START, *stored, *resent, *again, *own)


def parameters(event: TaskRecord, kind: Kind) -> list[Parameter]:
    """The `values` of an event as text."""
    return texts(values(event, kind))


def values(event: TaskRecord, kind: Kind) -> tuple[Any, ...]:
    """The values of the `columns` of this kind."""
    outcome = not_run.as_written(event.outcome) if event.outcome else _NO_OUTCOME
    start = event.start or _NO_START
    message = event.message or _NO_MESSAGE if kind.message else ()
    stored = event.stored or _NO_STORED if kind.stored else ()
    resent = (event.resent,) if kind.resent else ()
    again = (event.published_again,) if kind.message else ()
    own = event.own or _NO_OWN if kind.own else ()
    return (*_dates(event), *outcome, *message, *start, *stored, *resent, *again, *own)


def _dates(event: TaskRecord) -> tuple[Any, ...]:
    return event.task_id, event.date_created, event.date_updated, event.date_published


def texts(values: Iterable[Any]) -> list[Parameter]:
    """*values* as parameters: text, bytes or None.

    So a statement has the same types whatever is missing, and is prepared once; both databases read
    text as their columns' types.
    """
    return _texts_but(_AS_IT_IS, values)


def natives(values: Iterable[Any]) -> list[Native]:
    """*values* as parameters for SQLite, which may read a float's text as its neighbour."""
    return _texts_but(_NATIVE, values)


def _texts_but(kept: frozenset[object], values: Iterable[Any]) -> list[Any]:
    return [
        value if type(value) in kept else _TEXTS.get(type(value), _text)(value) for value in values
    ]


def events_json(events: Sequence[TaskRecord], kind: Kind) -> str:
    """Events as a JSON array of objects of the `columns` of this kind."""
    names = columns(kind)
    return json.dumps([as_object(names, parameters(event, kind)) for event in events])


def as_object(columns: Sequence[str], values: Sequence[Parameter]) -> dict[str, str]:
    return {
        column: value if isinstance(value, str) else f"\\x{value.hex()}"
        for column, value in zip(columns, values, strict=True)
        if value is not None
    }


def may_have_many_entries(event: TaskRecord) -> bool:
    """True once in 100 retries, from the 1,000th on: then old entries are looked for."""
    return any(
        entry.retries >= MOST_ENTRIES and entry.retries % 100 == 0 for entry in event.entries
    )


def date_text(when: datetime) -> str:
    """A date as both databases store and compare it: `2026-01-31T12:00:00.000+00:00`."""
    return when.astimezone(timezone.utc).isoformat(timespec="milliseconds")


@lru_cache(maxsize=64)  # most of an event's dates are one
def _date_text(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds")


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return _date_text(value)
    if isinstance(value, bool):
        return "1" if value else "0"
    return str(value)


_TEXTS: dict[type, Callable[[Any], str]] = {
    datetime: _date_text,
    bool: ("0", "1").__getitem__,
    int: str,
    float: str,
}
"""How a value becomes text, by its exact type."""


def entries_json(entries: Sequence[Entry]) -> str:
    """Entries as a JSON array of objects, their dates as text."""
    return json.dumps([_entry_object(entry) for entry in entries])


def all_entries_json(events: Sequence[TaskRecord]) -> str:
    """The entries of *events* as a JSON array of objects that name their tasks."""
    return json.dumps(
        [
            {"task_id": event.task_id, **_entry_object(entry)}
            for event in events
            for entry in event.entries
        ]
    )


def _entry_object(entry: Entry) -> dict[str, Any]:
    return {
        name: _text(value) if isinstance(value, datetime) else value
        for name, value in zip(Entry._fields, entry, strict=True)
    }


def records(found: Iterable[Sequence[Any]]) -> list[TaskRecord]:
    """The records of rows of `COLUMNS`, each task once."""
    return whole([record(row) for row in found])


def whole(parts: list[TaskRecord]) -> list[TaskRecord]:
    """Records, each task once: one of which a part was just moved comes in two."""
    return parts if len({part.task_id for part in parts}) == len(parts) else fold(parts)


def record(row: Sequence[Any], entries: str | None = None) -> TaskRecord:
    """The record of a row of `COLUMNS` and of the JSON array of its entries' arrays."""
    dates = [_date(value) for value in row[1:_OUTCOME_FROM]]
    outcome, message, start, stored, own = (
        row[_OUTCOME_FROM:_MESSAGE_FROM],
        row[_MESSAGE_FROM:_START_FROM],
        row[_START_FROM:_STORED_FROM],
        row[_STORED_FROM:_RESENT_AT],
        row[_OWN_FROM:],
    )
    created, updated, published = dates
    assert created is not None
    assert updated is not None
    return TaskRecord(
        task_id=row[0],
        date_created=created,
        date_updated=updated,
        date_published=published,
        outcome=_outcome(outcome) if outcome[0] is not None else None,
        message=_message(message) if message[0] is not None else None,
        start=Start(start[0], start[1], known_date(start[2])) if start[0] is not None else None,
        stored=Stored(*stored) if stored[0] is not None else None,
        entries=tuple(_entry(values) for values in json.loads(entries)) if entries else (),
        resent=row[_RESENT_AT],
        published_again=row[_AGAIN_AT],
        own=OwnMessage(*own) if own[0] is not None else None,
    )


def sample(row: Sequence[Any]) -> Sample:
    """The sample of a row. There are up to 5,000, so dates are read the fastest way."""
    name, state, retries, *dates, runtime, queue = row
    return Sample._make((name, state, retries, *map(_date_in_any_zone, dates), runtime, queue))


def _date_in_any_zone(value: Any) -> Any:
    return datetime.fromisoformat(value) if value.__class__ is str else value


def schedule(row: Sequence[Any]) -> Schedule:
    """The schedule of a row of its fields."""
    schedule = Schedule(*row)
    return schedule._replace(
        due=known_date(schedule.due),
        date_scheduled=known_date(schedule.date_scheduled),
        date_claimed=_date(schedule.date_claimed),
        at_least_once=None if schedule.at_least_once is None else bool(schedule.at_least_once),
    )


def schedule_parameters(schedule: Schedule) -> list[Parameter]:
    """The values of the fields that a schedule has before it is claimed."""
    return texts(schedule[:_CLAIM_FROM])


def worker(row: Sequence[Any]) -> Worker:
    """The worker of a row of its fields."""
    worker_id, name, started, seen, until, stopped = row
    dates = known_date(started), known_date(seen), known_date(until)
    return Worker(worker_id, name, *dates, _date(stopped))


def worker_parameters(worker: Worker) -> list[Parameter]:
    """The values of its fields."""
    return texts(worker)


def worker_card(row: Sequence[Any]) -> WorkerCard:
    """The card of a row of its fields."""
    worker_id, written, names_id, text = row
    return WorkerCard(worker_id, known_date(written), names_id, text)


def _outcome(values: Sequence[Any]) -> Outcome:
    outcome = not_run.as_read(Outcome(*values))
    return outcome._replace(
        open=bool(outcome.open),
        date_started=_date(outcome.date_started),
        date_done=_date(outcome.date_done),
        stale_from=known_date(outcome.stale_from),
        expire_at=_date(outcome.expire_at),
    )


def _message(values: Sequence[Any]) -> Message:
    message = Message(*values)
    if message.eta is None is message.expires:  # as with most
        return message
    return message._replace(eta=_date(message.eta), expires=_date(message.expires))


def _entry(values: Sequence[Any]) -> Entry:
    entry = Entry(*values)
    return entry._replace(date_started=_date(entry.date_started), date_done=_date(entry.date_done))


def known_date(value: Any) -> datetime:
    when = _date(value)
    assert when is not None
    return when


def _date(value: Any) -> datetime | None:
    """A date that a driver gave: a datetime, text, or milliseconds since 1970."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc)
    if isinstance(value, str):
        return datetime.fromisoformat(value)
    return from_milliseconds(int(value))
