"""Merging an event into a document on the server, in one update.

A pipeline evaluates its values: a text like "$name" would become a field's content, and an object
like {"$function": …} would run. So every value stands in `$literal`.
"""

from __future__ import annotations

from typing import Any

from fullresult_storage_mongo.clients import Document
from fullresult_storage_mongo.records import EventParts

MOST_ENTRIES = 1_000
"""The newest executions that are kept of each task."""


_DATES = {"date_created": "$min", "date_updated": "$max", "date_published": "$min"}


def pipeline(event: EventParts) -> list[Document]:
    """An update that merges an event.

    Of outcomes and stored results the latest stays, of messages and starts the first.
    """
    parts: list[Any] = ["$$ROOT"]
    # $min and $max pass over what is missing.
    dates = {
        name: {_DATES[name]: [f"${name}", {"$literal": date}]}
        for name, date in event.dates.items()
        if date is not None
    }
    parts.append(dates)
    if event.outcome:
        parts.append(_if_last("outcome_stamp", event.outcome))
    if event.message:
        parts.append(_if_first("message_stamp", event.message))
    if event.start:
        parts.append(_if_first("start_stamp", event.start))
    if event.stored:
        parts.append(_if_last("stored_stamp", event.stored))
    if event.resent or event.outcome:
        parts.append(_resent(event.resent, event.outcome))
    if event.entries:
        parts.append({"entries": _newest({"$mergeObjects": [literal(event.entries), "$entries"]})})
    return [{"$replaceWith": {"$mergeObjects": parts}}]


def instead(document: Document) -> list[Document]:
    """An update that replaces a document by *document*."""
    return [{"$replaceWith": literal(document)}]


def literal(value: Any) -> Document:
    return {"$literal": value}


def _if_last(stamp: str, part: Document) -> Document:
    is_last = {"$gt": [{"$literal": part[stamp]}, f"${stamp}"]}
    return {"$cond": [is_last, {"$literal": part}, {"$literal": {}}]}


def _if_first(stamp: str, part: Document) -> Document:
    known = {"$ifNull": [f"${stamp}", {"$literal": "~"}]}
    is_first = {"$lt": [{"$literal": part[stamp]}, known]}
    return {"$cond": [is_first, {"$literal": part}, {"$literal": {}}]}


def _resent(mark: str | None, outcome: Document | None) -> Document:
    """The greater mark, unless the outcome of either is greater still."""
    known, stamp = "$resent", "$outcome_stamp"
    if outcome is None:
        stamps: Any = stamp
    else:
        stamps = {"$max": [stamp, literal(outcome["outcome_stamp"])]}
    if mark is None:
        # Only where there is one, so that other documents get no field.
        void = {"$and": [{"$gt": [known, literal("")]}, {"$lte": [known, stamps]}]}
        return {"$cond": [void, literal({"resent": None}), literal({})]}
    latest = {"$max": [known, literal(mark)]}
    return {"resent": {"$cond": [{"$gt": [latest, stamps]}, latest, None]}}


def _newest(entries: Document) -> Document:
    """The greatest stamps of both. A union cut so is the same in whatever order it grew."""
    by_stamp = {"$sortArray": {"input": {"$objectToArray": "$$all"}, "sortBy": {"k": -1}}}
    newest = {"$arrayToObject": {"$slice": [by_stamp, MOST_ENTRIES]}}
    count = {"$size": {"$objectToArray": "$$all"}}
    return {
        "$let": {
            "vars": {"all": entries},
            "in": {"$cond": [{"$gt": [count, MOST_ENTRIES]}, newest, "$$all"]},
        }
    }
