"""Merging an event into a document on the server, in one update.

A pipeline evaluates its values: a text like "$name" would become a field's content, and an object
like {"$function": …} would run. So every value stands in `$literal`.
"""

from __future__ import annotations

from typing import Any

from fullresult.record import BELOW_SUCCESS, PUBLISHED_BELOW, SUCCESS
from fullresult_storage_mongo.clients import Document
from fullresult_storage_mongo.records import EventParts

MOST_ENTRIES = 1_000
"""The newest executions that are kept of each task."""


_ENTRY = ("retries", "state", "worker", "date_started", "date_done")
_IS_KNOWN: Document = {"$gt": ["$$this.v", None]}
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
    if event.own:
        parts.append(_if_last("own_stamp", event.own))
    if event.message or event.again:
        parts.append(_published_again(event))
    if event.entries or event.outcome:
        parts.append(_entries(event))
    return [{"$replaceWith": {"$mergeObjects": parts}}]


def usual(event: EventParts) -> tuple[Document, Document] | None:
    """How a record looks that usually meets *event*, and the update that merges them then.

    None if *event* is none that comes with nearly every task. A pipeline has every case and every
    value in it, which is three times the bytes and twice the work.
    """
    outcome = event.outcome
    rest = (event.message, event.entries, event.resent, event.again, event.own)
    if outcome is None or any(rest) or event.dates["date_published"] is not None:
        return None
    stamp = outcome["outcome_stamp"]
    # The success of a run that loses would become an entry, and a mark may be void.
    known: Document = {"outcome_stamp": {"$lt": stamp}, "state": {"$ne": SUCCESS}, "resent": None}
    changed = dict(outcome)
    for part, name in ((event.start, "start_stamp"), (event.stored, "stored_stamp")):
        if part:
            known[name] = None
            changed |= part
    dates = event.dates
    update: Document = {
        "$set": changed,
        "$min": {"date_created": dates["date_created"]},
        "$max": {"date_updated": dates["date_updated"]},
    }
    return known, update


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


def _published_again(event: EventParts) -> Document:
    """The least stamp of the publishes after the first; see `fullresult.record.own_message`."""
    found: list[Any] = ["$again_stamp", {"$literal": event.again}]
    if event.message:
        both = ["$message_stamp", {"$literal": event.message["message_stamp"]}]
        differ = {"$and": [{"$gt": ["$message_stamp", None]}, {"$ne": both}]}
        is_publish = {"$lt": [{"$max": both}, {"$literal": PUBLISHED_BELOW}]}
        found.append({"$cond": [{"$and": [differ, is_publish]}, {"$max": both}, None]})
    least = {"$min": found}  # which passes over what is missing
    return {"$cond": [{"$gt": [least, None]}, {"again_stamp": least}, {"$literal": {}}]}


def _entries(event: EventParts) -> Document:
    own: list[Any] = [literal(event.entries)] if event.entries else []
    if event.outcome is None or event.outcome["outcome_stamp"] <= BELOW_SUCCESS:
        return {"entries": _newest({"$mergeObjects": [*own, "$entries"]})} if own else literal({})
    merged: Document = {"entries": _newest({"$mergeObjects": [*own, "$$lost", "$entries"]})}
    if not own:  # A task that simply succeeds has no such field.
        merged = {"$cond": [{"$eq": ["$$lost", literal({})]}, literal({}), merged]}
    return {"$let": {"vars": {"lost": _lost(event.outcome)}, "in": merged}}


def _lost(outcome: Document) -> Document:
    """The entry of a success that is not the latest outcome, old or new; none if there is none."""
    new = outcome["outcome_stamp"]
    ran = {"$gt": [{"$ifNull": ["$date_started", "$worker"]}, None]}
    old_lost = {
        "$and": [{"$eq": ["$state", SUCCESS]}, {"$lt": ["$outcome_stamp", literal(new)]}, ran]
    }
    known = {name: f"${name}" for name in _ENTRY}
    entry = {"$arrayToObject": {"$filter": {"input": {"$objectToArray": known}, "cond": _IS_KNOWN}}}
    old = {"$arrayToObject": [[{"k": "$outcome_stamp", "v": entry}]]}
    found: Document = {"$cond": [old_lost, old, {"$literal": {}}]}
    has_run = outcome["date_started"] is not None or outcome["worker"] is not None
    if outcome["state"] != SUCCESS or not has_run:
        return found
    own = {name: outcome[name] for name in _ENTRY if outcome[name] is not None}
    new_lost = {"$gt": ["$outcome_stamp", literal(new)]}
    return {"$cond": [new_lost, literal({new: own}), found]}


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
