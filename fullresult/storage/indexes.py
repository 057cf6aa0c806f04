"""Buckets: the groups of records, by how they stand, that are indexed. Successes have none."""

from __future__ import annotations

from fullresult.record import FINISHED, PENDING, SCHEDULED, SCHEDULED_SENT, SUCCESS
from fullresult.record.query import TaskQuery

OPEN = "OPEN"
"""The section of the tasks to which something is still expected to happen."""
OWN_SECTION = FINISHED - {SUCCESS} | {SCHEDULED}
"""The states that have a section of their own name."""
_ALL = OWN_SECTION | {SCHEDULED_SENT, OPEN}

_FEW = ("task_ids", "root_id", "group_id", "retry_of")
"""Fields whose every value only a few records have, whatever a database estimates."""


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


def is_behind_what_waits(query: TaskQuery) -> bool:
    """True if *query* asks for open tasks before which a million others may stand.

    Those that just wait, or are due tomorrow. The index has both: one of the others alone would be
    written by each start.
    """
    if sections_of(query) != frozenset({OPEN}) or is_of_few(query):
        return False
    if query.name is not None or query.kwargs or query.args:
        return False
    if query.moved_before is not None:
        return True
    return PENDING in query.not_state or PENDING not in (query.states or (PENDING,))


def is_indexed(query: TaskQuery, *, json: bool) -> bool:
    """`IndexedStorage.has_index`; *json* is True if an index has the arguments that it names."""
    if is_of_few(query):
        return True
    if query.kwargs or query.args:
        return json
    return query.text is query.queue is query.worker is None
