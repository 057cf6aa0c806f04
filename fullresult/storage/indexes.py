"""Buckets: the groups of records, by how they stand, that are indexed. Successes have none."""

from __future__ import annotations

from fullresult.record import FINISHED, NOT_RUN, PENDING, SCHEDULED, SCHEDULED_SENT, SUCCESS
from fullresult.record.query import TaskQuery

OPEN = "OPEN"
"""The section of the tasks to which something is still expected to happen."""
OWN_SECTION = FINISHED - {SUCCESS} | {SCHEDULED}
"""The states that have a section of their own name."""
_ALL = OWN_SECTION | {SCHEDULED_SENT, OPEN}

_FEW = ("task_ids", "root_id", "group_id", "retry_of")
"""Fields whose every value only a few records have, whatever a database estimates."""
_NARROWER = ("name", "args", "args_at", "kwargs", "fingerprint")
"""Other fields whose index leads to fewer records than a section has."""


def sections_of(query: TaskQuery) -> frozenset[str] | None:
    """The sections in which all records that match *query* are; None if sections are no help."""
    known = []
    if query.states and SUCCESS not in query.states:
        known.append(frozenset(section for state in query.states for section in _of(state)))
    if SUCCESS in query.not_state:
        known.append(_ALL - (OWN_SECTION & frozenset(query.not_state)))
    if query.open:
        known.append(frozenset({OPEN}))
    if not known:
        return None
    found = frozenset.intersection(*known)
    return found - {OPEN} or found if query.open is False else found


def _of(state: str) -> tuple[str, ...]:
    if state == SCHEDULED_SENT:
        return SCHEDULED_SENT, OPEN
    return (state,) if state in OWN_SECTION else (OPEN,)


def is_of_few(query: TaskQuery) -> bool:
    """True if *query* names a value that only a few records have."""
    return any(getattr(query, name) is not None for name in _FEW)


def is_behind_others(query: TaskQuery, *, by_state: bool = False) -> bool:
    """True if a million records that do not match may stand before one that does.

    Open tasks that just wait, or are due tomorrow; failures that are dealt with, or that ran. Both
    are in the index, for one without them would be written by each start, or each re-send.
    *by_state* is True if an index tells apart the states of what is open, and what never ran.
    """
    if is_of_few(query) or any(getattr(query, name) for name in _NARROWER):
        return False
    sections = sections_of(query)
    if sections == frozenset({OPEN}) and query.moved_before is not None:
        return True
    if not by_state:
        if sections == frozenset({NOT_RUN}):
            return True
        waits = PENDING not in query.not_state and PENDING in (query.states or (PENDING,))
        if sections == frozenset({OPEN}) and not waits:
            return True
    if query.unresolved is None:
        return False
    return len(sections) == 1 if sections else not query.unresolved


def is_indexed(query: TaskQuery, *, json: bool, by_state: bool = False) -> bool:
    """`IndexedStorage.has_index`.

    *json* is True if an index has the arguments that it names, *by_state* as in `is_behind_others`.
    """
    if is_of_few(query):
        return True
    if query.kwargs or query.places:
        return json
    if is_behind_others(query, by_state=by_state):
        return False
    return query.text is query.queue is query.worker is query.exception is None
