"""Which questions leave out what is dealt with, or ask for that alone, if nothing is said."""

from __future__ import annotations

from dataclasses import replace

from fullresult.record import FAILURE, IGNORED, REJECTED, REVOKED, UNSENT
from fullresult.storage import TaskQuery

ENDED_BADLY = frozenset({FAILURE, REVOKED, REJECTED, IGNORED, UNSENT})


def is_of_failures(query: TaskQuery) -> bool:
    """True if *query* asks for tasks that ended badly, and for no others."""
    in_group = query.fingerprint is not None
    return in_group or (bool(query.states) and ENDED_BADLY.issuperset(query.states or ()))


def unresolved_first(query: TaskQuery) -> TaskQuery:
    """*query* without what is dealt with, if it is of failures and does not say itself."""
    if query.unresolved is None and is_of_failures(query):
        return replace(query, unresolved=True)
    return query


def dealt_with_first(query: TaskQuery) -> TaskQuery:
    """Of *query* what is dealt with, if it is of failures and does not say itself."""
    if query.unresolved is None and is_of_failures(query):
        return replace(query, unresolved=False)
    return query


def with_the_rest(query: TaskQuery) -> TaskQuery:
    """*query* with what is dealt with."""
    return replace(query, unresolved=None)
