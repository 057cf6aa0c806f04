"""The number of records in each state, counted up to a bound."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from fullresult.insight.stale import stale_query
from fullresult.insight.unresolved import unresolved_first
from fullresult.record import NOT_RUN, SCHEDULED_SENT, STATES, SUCCESS
from fullresult.storage import OWN_SECTION, StatisticsStorage, Storage, TaskQuery, WalkingStorage

MOST = 1000
LOOKED = 2_500
"""Records, the oldest and as many of the newest, that are looked at for states without a section of
their own: where a million wait, it takes too long to look at all of them."""
LOOKED_AT_ENDED = 5_000
"""The newest records of a section that are looked at where no index tells which are meant."""
_SLOW = (
    "name",
    "queue",
    "worker",
    "root_id",
    "group_id",
    "retry_of",
    "text",
    "args",
    "kwargs",
    "fingerprint",
)
"""A query with one of these is not counted: no index has it beside the state."""


class StateCounts(NamedTuple):
    """The number of records by state; none is greater than *most*."""

    by_state: dict[str, int]
    most: int = MOST
    at_least: frozenset[str] = frozenset()
    """The states of which there may be more: not all records were looked at."""

    def shown(self, state: str) -> str | None:
        """`12`, `12+` or `1,000+`; None for a state that was not counted."""
        number = self.by_state.get(state)
        if number is None:
            return None
        is_more = number >= self.most or state in self.at_least
        return f"{number:,}{'+' if is_more else ''}"


def count_by_state(storage: Storage, query: TaskQuery, *, rest: bool = False) -> StateCounts:
    """The number of records that *query* finds, by state; empty where no index can answer.

    Without the *rest*, what is dealt with is not counted among those that ended badly.

    Raises `StorageError`.
    """
    if not isinstance(storage, StatisticsStorage) or any(getattr(query, n) for n in _SLOW):
        return StateCounts({})
    return count_states(storage, query, MOST, rest=rest)


def count_states(
    storage: StatisticsStorage, query: TaskQuery, cap: int, *, rest: bool = True
) -> StateCounts:
    """The number of records that *query* finds, by each state that it allows; *cap* at most."""
    asked = STATES if query.states is None else query.states
    allowed = [state for state in asked if state not in query.not_state]

    def of_state(state: str) -> TaskQuery:
        asked = replace(query, state=state)
        return asked if rest else unresolved_first(asked)

    if not isinstance(storage, WalkingStorage):
        return StateCounts({s: storage.count_capped(of_state(s), cap) for s in allowed}, cap)
    sections = [state for state in allowed if state in OWN_SECTION]
    ended = {s: _in_section(storage, of_state(s), s, cap) for s in sections}
    counts = {state: number for state, (number, _) in ended.items()}
    at_least = frozenset(state for state, (_, is_all) in ended.items() if not is_all)
    if SCHEDULED_SENT in allowed and query.open is not True:
        sent = replace(query, state=SCHEDULED_SENT, open=False)
        counts[SCHEDULED_SENT] = storage.count_capped(sent, cap)
    walks = {
        True: [state for state in allowed if state not in OWN_SECTION and state != SUCCESS],
        False: [SUCCESS] if SUCCESS in allowed else [],
    }
    for is_open, states in walks.items():
        for state in states:
            counts.setdefault(state, 0)
        if states and query.open in (None, is_open):
            walked = replace(query, state=states, open=is_open)
            found = _looked_through(storage, walked, states, cap)
            for state in states:
                counts[state] = min(counts[state] + found.by_state.get(state, 0), cap)
            at_least |= found.at_least
    return StateCounts({state: counts[state] for state in allowed}, cap, at_least)


def _in_section(
    storage: StatisticsStorage, query: TaskQuery, state: str, cap: int
) -> tuple[int, bool]:
    """The number of records that *query* finds in a section; False if there may be more."""
    # No index tells what is dealt with, nor everywhere which of the failures never ran.
    is_apart = query.unresolved is None and state != NOT_RUN
    if is_apart or not isinstance(storage, WalkingStorage):
        return storage.count_capped(query, cap), True
    # Mostly the first ones are enough; of what never ran there are few.
    first = [cap + cap // 4] if state != NOT_RUN and cap < LOOKED_AT_ENDED // 2 else []
    for looked in (*first, LOOKED_AT_ENDED):
        found = storage.tally(query, looked)
        number = min(found.by_state.get(state, 0), cap)
        if found.is_all or number == cap:
            return number, True
    return number, False


def count_stale(
    storage: StatisticsStorage, moved_before: datetime, cap: int, *, rest: bool = True
) -> tuple[int, bool]:
    """The number of tasks that last moved, or were due, by then; True if there may be more.

    Of a million that are due tomorrow each would be looked at, so the oldest and the newest have to
    do. Without the *rest*, those that were sent again are not counted.
    """
    query = replace(stale_query(moved_before, None, None), unresolved=None if rest else True)
    if not isinstance(storage, WalkingStorage):
        return storage.count_capped(query, cap), False
    number = 0
    for order in ("oldest", "newest"):
        found = storage.tally(replace(query, order=order), 2 * LOOKED)
        number = max(number, min(sum(found.by_state.values()), cap))
        if found.is_all or number == cap:
            return number, False
    return number, True


def _looked_through(
    storage: WalkingStorage, query: TaskQuery, states: Collection[str], cap: int
) -> StateCounts:
    """The counts of the oldest records, and where these are not all, also of the newest."""
    counts: dict[str, int] = {}
    for order in ("oldest", "newest"):
        found = storage.tally(replace(query, order=order), LOOKED)
        counts = {s: max(counts.get(s, 0), found.by_state.get(s, 0)) for s in states}
        unsure = frozenset(state for state in states if counts[state] < cap)
        if found.is_all or not unsure:
            return StateCounts(counts, cap)
    return StateCounts(counts, cap, unsure)
