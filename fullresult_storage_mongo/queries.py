"""A `TaskQuery` or a `ScheduleQuery` as MongoDB's filters, orders and pages."""

from __future__ import annotations

from collections.abc import Collection as Values
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from fnmatch import fnmatchcase
from itertools import chain

from pymongo.errors import OperationFailure

from fullresult.record import FAILURE, NOT_RUN, PENDING, ScheduleQuery, encoding
from fullresult.storage import OPEN, TaskQuery, is_behind_others, sections_of
from fullresult_storage_mongo import globs, matching
from fullresult_storage_mongo.clients import Document, Handle
from fullresult_storage_mongo.records import CLAIMED, WAITING

Order = list[tuple[str, int]]

_EQUAL = ("queue", "worker", "group_id", "retry_of", "fingerprint")
_TEXTS = ("name", "_id", "exception_type", "exception_message")

_TWINS = ((FAILURE, NOT_RUN), (NOT_RUN, FAILURE))
_MOST_NAMES = 100
"""The most ranges of an index that are read side by side."""
_TOO_MANY = 17217
"""The server's code for distinct values beyond the 16 MB of a document."""
_SENT_AGAIN, _TAKEN_BACK = {"$regex": r"\.\Z"}, {"$regex": r"~\Z"}
"""Marks of a record, by their last character; see `fullresult.record.resent`."""
DUE: Order = [("due", 1), ("_id", 1)]
MOVING = "moving"
"""The index of what is open and does not just wait."""
NOT_PENDING: Document = {"$or": [{"state": {"$lt": PENDING}}, {"state": {"$gt": PENDING}}]}
"""A condition on states, word for word as that index has it. (It allows no `$ne`.)"""


def order(query: TaskQuery) -> Order:
    direction = -1 if query.order == "newest" else 1
    return [("date_created", direction), ("_id", direction)]


def page(handle: Handle, query: TaskQuery, names: Sequence[str] | None = None) -> Document:
    """The filter of *query*; *names* are the task names its glob matches, if known.

    Raises PyMongo's errors.
    """
    return _all_of(chain(_conditions(query, names), _dealt_with_conditions(handle, query)))


def hint(query: TaskQuery) -> str | None:
    """The index to take where the server may take a longer one, as it tries both for a moment."""
    moves = sections_of(query) == frozenset({OPEN}) and is_behind_others(query)
    return MOVING if moves and not is_behind_others(query, by_state=True) else None


def everything(handle: Handle, query: TaskQuery, names: Sequence[str] | None = None) -> Document:
    """The conditions of *query* but for its page."""
    return page(handle, replace(query, after=None), names)


def names(handle: Handle, query: TaskQuery) -> list[str] | None:
    """The names of tasks that *query*'s glob matches; None without a glob, or if they are many.

    An index has the newest tasks of each name at hand, wherever the glob has its wildcards. Raises
    PyMongo's errors.
    """
    if query.name is None or not query.name_is_glob:
        return None
    try:
        least, beyond = globs.bounds(query.name)
        within = {"$gte": least} if beyond is None else {"$gte": least, "$lt": beyond}
        known = handle.tasks.distinct("name", {"name": within})
    except OperationFailure as error:
        if error.code != _TOO_MANY:
            raise
        return None
    found = [name for name in known if name is not None and fnmatchcase(name, query.name)]
    return found if len(found) <= _MOST_NAMES else None


def along(query: TaskQuery) -> Document:
    """The filter of the one section that *query* is about, or of all, in its time."""
    return _all_of(_along(query))


def _along(query: TaskQuery) -> Iterator[Document]:
    sections = sections_of(query)
    if sections and len(sections) == 1:
        yield {"bucket": _one_of(sections)}
    yield from _date_conditions(query, moved=False)


def up_to(handle: Handle, query: TaskQuery, position: tuple[datetime, str] | None) -> Document:
    """The filter of *query*, of no record beyond *position*."""
    found = [page(handle, query, None)]
    if position is not None:
        date, task_id = position
        than = "$gt" if query.order == "newest" else "$lt"
        last = {"date_created": date, "_id": {f"{than}e": task_id}}
        found += [
            {"date_created": {f"{than}e": date}},  # this bounds the index
            {"$or": [{"date_created": {than: date}}, last]},
        ]
    return {"$and": found}


def schedules(query: ScheduleQuery) -> Document:
    """The filter of *query* on schedules, without its limit."""
    return _all_of(_schedule_conditions(query))


def _all_of(conditions: Iterator[Document]) -> Document:
    found = list(conditions)
    if len(found) == 1:
        return found[0]
    return {"$and": found} if found else {}


def _conditions(query: TaskQuery, names: Sequence[str] | None) -> Iterator[Document]:
    yield from _state_conditions(query)
    if names is not None:
        yield {"name": _one_of(names)}
    elif query.name is not None:
        yield {"name": _regex(query.name) if query.name_is_glob else {"$eq": query.name}}
    if query.task_ids is not None:
        yield {"_id": {"$in": sorted(set(map(encoding.key, query.task_ids)))}}
    if query.root_id is not None:
        root = encoding.key(query.root_id)
        yield {"$or": [{"_id": root, "root_id": root}, {"other_root": {"$eq": root}}]}
    for name in _EQUAL:
        if (value := getattr(query, name)) is not None:
            yield {name: {"$eq": encoding.key(value)}}
    yield from _date_conditions(query)
    if query.text is not None:
        contains = {"$regex": globs.containing(query.text), "$options": "s"}
        yield {"$or": [{name: contains} for name in _TEXTS]}
    if query.kwargs is not None:
        yield from matching.keywords(query.kwargs)
    yield from matching.positional(query.places)
    if query.exception is not None:
        yield {"exception_type": {"$regex": globs.ending(query.exception)}}


def _dealt_with_conditions(handle: Handle, query: TaskQuery) -> Iterator[Document]:
    if query.unresolved is None:
        return
    wanted: Document = {"status": "resolved"}
    if query.fingerprint is not None:
        wanted["_id"] = encoding.key(query.fingerprint)
    until = {each["_id"]: each["date_decided"] for each in handle.failures.find(wanted)}
    resolved: list[Document] = [
        {"fingerprint": name, "date_done": {"$lte": date}} for name, date in until.items()
    ]
    if query.unresolved:
        yield {"$or": [{"resent": None}, {"resent": _TAKEN_BACK}]}
        if resolved:
            # First what is quickly told: most failures are of no group that was resolved.
            yield {"$or": [{"fingerprint": {"$nin": [*until]}}, {"$nor": resolved}]}
    else:
        yield {"$or": [{"resent": _SENT_AGAIN}, *resolved]}


def _regex(glob: str) -> Document:
    return {"$regex": globs.as_regex(glob), "$options": "s"}


def _state_conditions(query: TaskQuery) -> Iterator[Document]:
    if (sections := sections_of(query)) is not None:
        yield {"bucket": _one_of(sections)}
    if (states := query.states) is not None:
        # A NOT_RUN is a FAILURE in a section of its own.
        yield {"state": _one_of({FAILURE if state == NOT_RUN else state for state in states})}
        for state, other in _TWINS:
            if state in states and other not in states:
                yield {"bucket": {"$ne": other}}
    if barred := frozenset(query.not_state):
        both = barred if barred.issuperset(_TWINS[0]) else barred - {*_TWINS[0]}
        yield {"state": {"$nin": sorted(both), "$gte": ""}}
        for state, other in _TWINS:
            if state in barred and other not in barred:
                yield {"bucket": {"$ne": state}}
        if PENDING in barred and query.states is None:
            yield NOT_PENDING
    if query.open is False:
        yield {"bucket": {"$ne": OPEN}, "state": {"$ne": None}}


def _one_of(values: Values[str]) -> Document:
    return {"$in": sorted(values)}


def _date_conditions(query: TaskQuery, *, moved: bool = True) -> Iterator[Document]:
    if query.since is not None:
        yield {"date_created": {"$gte": query.since}}
    if query.until is not None:
        yield {"date_created": {"$lt": query.until}}
    if query.moved_before is not None:
        # A task moves only after it was created: this bounds the index.
        yield {"date_created": {"$lte": query.moved_before}}
        if moved:
            yield {"stale_from": {"$lte": query.moved_before}}
    if query.position is not None:
        than = "$lt" if query.order == "newest" else "$gt"
        yield from beyond("date_created", than, *query.position)


def beyond(field: str, than: str, date: datetime, identity: str) -> Iterator[Document]:
    """Documents beyond *date* and, at that date, beyond *identity*; *than* is $lt or $gt."""
    yield {field: {f"{than}e": date}}  # this bounds the index
    yield {"$or": [{field: {than: date}}, {field: date, "_id": {than: identity}}]}


def _schedule_conditions(query: ScheduleQuery) -> Iterator[Document]:
    kept = {None: {"$in": [WAITING, CLAIMED]}, True: CLAIMED, False: WAITING}
    yield {"status": kept[query.claimed]}
    if query.schedule_ids is not None:
        yield {"_id": {"$in": list(query.schedule_ids)}}
    if query.task_ids is not None:
        yield {"task_id": {"$in": list(query.task_ids)}}
    if query.namespace is not None:
        yield {"namespace": {"$eq": query.namespace}}
    if query.not_namespace is not None:
        yield {"namespace": {"$ne": query.not_namespace}}
    if query.outbox is not None:
        yield {"at_least_once": {"$ne": None} if query.outbox else None}
    if query.due_until is not None:
        yield {"due": {"$lte": query.due_until}}
    if query.position is not None:
        yield from beyond("due", "$gt", *query.position)
