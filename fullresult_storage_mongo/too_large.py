"""Cuts records that are too large for MongoDB, whose documents have at most 16 MB."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import bson

from fullresult.record import Entry, Message, TaskRecord, encoding
from fullresult_storage_mongo.records import document, parts_of

MOST_BYTES = 15 * 1024 * 1024
_ENTRIES, _ENTRY_TEXT = 100, 1_000
_TEXT = 250_000
_WHY = "cut: MongoDB keeps at most 16 MB of a task"


def fit(record: TaskRecord) -> TaskRecord:
    """*record*, cut until a document holds it; its notes and forms say what is missing.

    The body goes last: with it the task can be sent again.
    """
    for cut in _CUTS:
        if len(bson.encode(document(parts_of(record)))) <= MOST_BYTES:
            break
        record = cut(record)
    return record


def _without_old_entries(record: TaskRecord) -> TaskRecord:
    return _with(record, entries=tuple(map(_short, record.entries[-_ENTRIES:])))


def _short(entry: Entry) -> Entry:
    return entry._replace(
        exception_message=_clipped(entry.exception_message, _ENTRY_TEXT),
        traceback=_clipped(entry.traceback, _ENTRY_TEXT),
    )


def _with_short_outcome(record: TaskRecord) -> TaskRecord:
    outcome = record.outcome
    if outcome is None:
        return record
    if outcome.result is not None and len(outcome.result) > _TEXT:
        text, form = outcome.result, "cut"
        outcome = outcome._replace(result=None, result_text=text, result_form=form)
    elif outcome.result_form == "text" and len(outcome.result_text or "") > _TEXT:
        outcome = outcome._replace(result_form="cut")  # clipped, it is JSON no more
    return _with(
        record,
        outcome=outcome._replace(
            result_text=_clipped(outcome.result_text, _TEXT),
            exception_message=_clipped(outcome.exception_message, _TEXT),
            traceback=_clipped(outcome.traceback, _TEXT),
        ),
    )


def _without_arguments(record: TaskRecord) -> TaskRecord:
    return _without(record, "args", "kwargs")


def _without_body(record: TaskRecord) -> TaskRecord:
    return _without(record, "body", "embed", "headers", "properties")


def _without(record: TaskRecord, *names: str) -> TaskRecord:
    message = record.message
    if message is None:
        return record
    gone = [name for name in names if getattr(message, name) is not None]
    notes = {**_notes(message), **dict.fromkeys(gone, _WHY)}
    nothing: dict[str, Any] = dict.fromkeys(gone)
    return _with(record, message=message._replace(**nothing, notes=json.dumps(notes)))


def _notes(message: Message) -> dict[str, Any]:
    return dict(json.loads(message.notes)) if message.notes else {}


def _clipped(text: str | None, limit: int) -> str | None:
    return None if text is None else encoding.clip(text, limit)


def _with(record: TaskRecord, **known: Any) -> TaskRecord:
    return TaskRecord(**{**vars(record), **known})


def _without_own_message(record: TaskRecord) -> TaskRecord:
    return _with(record, own=None)


_CUTS: tuple[Callable[[TaskRecord], TaskRecord], ...] = (
    _without_old_entries,
    _without_own_message,
    _with_short_outcome,
    _without_arguments,
    _without_body,
)
