"""Records and schedules as documents, and back."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from fullresult.record import (
    SUCCESS,
    Entry,
    Message,
    Outcome,
    OwnMessage,
    Schedule,
    Start,
    Stored,
    TaskRecord,
    not_run,
)
from fullresult.storage import OPEN, Refused
from fullresult_storage_mongo.clients import Document
from fullresult_storage_mongo.values import to_bson, to_json

WAITING = "waiting"
CLAIMED = "claimed"
WITHDRAWN = "withdrawn"
ARRIVING = "arriving"
"""A schedule whose event is not merged yet; see `outbox`."""
CLOSING = "closing"
"""The same for a schedule that is to be deleted."""

MOST_STORED = 10 * 1024 * 1024
"""The most bytes of a stored result: the rest of the record needs room beside it.

A server with the smallest cache, 256 MB, never finishes a larger update.
"""
STORED = tuple(f"stored_{name}" for name in Stored._fields)


class EventParts(NamedTuple):
    """An event as parts of a document."""

    task_id: str
    dates: Document
    outcome: Document | None
    message: Document | None
    start: Document | None
    stored: Document | None
    entries: Document | None
    """By stamp."""
    resent: str | None
    again: str | None
    own: Document | None


def parts_of(event: TaskRecord) -> EventParts:
    """Raises `Refused` for a stored result that is too large: none is cut."""
    return EventParts(
        event.task_id,
        {
            "date_created": event.date_created,
            "date_updated": event.date_updated,
            "date_published": event.date_published,
        },
        event.outcome and _outcome_part(event.outcome),
        event.message and _message_part(event.message, event.task_id),
        event.start and _start_part(event.start),
        event.stored and _stored_part(event.stored),
        {entry.stamp: _entry_part(entry) for entry in event.entries} or None,
        event.resent,
        event.published_again,
        event.own and {"own_stamp": event.own.stamp, "own_message": event.own.text},
    )


def document(event: EventParts) -> Document:
    """The document of a task of which only this event is known."""
    whole: Document = {"_id": event.task_id, **event.dates}
    for part in (event.outcome, event.message, event.start, event.stored, event.own):
        whole |= part or {}
    if event.again is not None:
        whole["again_stamp"] = event.again
    if event.entries:
        whole["entries"] = event.entries
    if event.resent is not None:
        whole["resent"] = event.resent
    return whole


def _outcome_part(outcome: Outcome) -> Document:
    part = outcome._asdict()
    del part["stamp"]
    part["result"] = to_bson(outcome.result)
    part["state"] = not_run.as_written(
        outcome
    ).state  # in a section that older versions do not list
    section = OPEN if outcome.open else None if outcome.state == SUCCESS else outcome.state
    return {"outcome_stamp": outcome.stamp, **part, "bucket": section}


def _message_part(message: Message, task_id: str) -> Document:
    part = message._asdict()
    del part["stamp"]
    part["args"] = to_bson(message.args, ordered=True)
    part["kwargs"] = to_bson(message.kwargs, ordered=True)
    # Its index leaves out the many tasks that are their own root.
    other_root = None if message.root_id == task_id else message.root_id
    return {"message_stamp": message.stamp, **part, "other_root": other_root}


def _start_part(start: Start) -> Document:
    return {
        "start_stamp": start.stamp,
        "start_worker": start.worker,
        "start_date": start.date_started,
    }


def _stored_part(stored: Stored) -> Document:
    if len(stored.body) > MOST_STORED:
        raise Refused(
            f"a result of {len(stored.body)} bytes: MongoDB keeps at most {MOST_STORED} of them"
        )
    return dict(zip(STORED, stored, strict=True))


def _entry_part(entry: Entry) -> Document:
    part = entry._asdict()
    del part["stamp"]
    return {name: value for name, value in part.items() if value is not None}


def record(found: Document) -> TaskRecord:
    """The record of a document."""
    get = found.get
    entries: Document = get("entries") or {}
    return TaskRecord(
        task_id=found["_id"],
        date_created=found["date_created"],
        date_updated=found["date_updated"],
        date_published=get("date_published"),
        outcome=_outcome(found) if get("outcome_stamp") is not None else None,
        message=_message(found) if get("message_stamp") is not None else None,
        start=_start(found) if get("start_stamp") is not None else None,
        stored=stored(found) if get("stored_stamp") is not None else None,
        entries=tuple(_entry(stamp, entries[stamp]) for stamp in sorted(entries)),
        resent=get("resent"),
        published_again=get("again_stamp"),
        own=OwnMessage(found["own_stamp"], found["own_message"]) if get("own_stamp") else None,
    )


def _outcome(found: Document) -> Outcome:
    values = Outcome._make(map(found.get, Outcome._fields))
    stamp, result = found["outcome_stamp"], to_json(values.result)
    return not_run.as_read(values._replace(stamp=stamp, result=result))


def _message(found: Document) -> Message:
    known: Document = {name: found.get(name) for name in Message._fields}
    known |= {
        "stamp": found["message_stamp"],
        "args": to_json(found.get("args")),
        "kwargs": to_json(found.get("kwargs")),
    }
    return Message(**known)


def _start(found: Document) -> Start:
    return Start(found["start_stamp"], found["start_worker"], found["start_date"])


def stored(found: Document) -> Stored:
    return Stored._make(map(found.__getitem__, STORED))


def returned(found: Document) -> Stored | str | None:
    """A success as it was stored, or else its result as JSON text."""
    if found.get("stored_stamp") == found["outcome_stamp"]:
        return stored(found)
    return to_json(found.get("result")) if found.get("result_form") == "json" else None


def _entry(stamp: str, part: Document) -> Entry:
    values: dict[str, Any] = {name: part.get(name) for name in Entry._fields}
    return Entry(**{**values, "stamp": stamp})


def schedule_document(schedule: Schedule) -> Document:
    """The document of an unclaimed schedule, without its id."""
    known = schedule._asdict()
    del known["schedule_id"]
    kept = {name: value for name, value in known.items() if value is not None}
    return {**kept, "status": WAITING}


def schedule(found: Document) -> Schedule:
    known: Document = {name: found.get(name) for name in Schedule._fields}
    return Schedule(**{**known, "schedule_id": found["_id"]})


def claimed(claim: str, now: datetime) -> Document:
    """The fields that a claim sets."""
    return {"status": CLAIMED, "claim": claim, "date_claimed": now}
