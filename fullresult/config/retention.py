"""Retention: the time for which the record of an ended task is kept."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from datetime import datetime, timedelta

from fullresult.record import FAILURE, NOT_RUN, SCHEDULED, STATES, Outcome

_LATEST_YEAR = 9999


@dataclass(frozen=True)
class Retention:
    """The rules of `fullresult_retention`. The first that fits counts; if none does, for good."""

    rules: tuple[tuple[str, timedelta | None], ...]
    """Each is (a state or a glob of task names, a length of time or None for good)."""

    def of(self, outcome: Outcome, name: str | None) -> Outcome:
        """*outcome* of a task called *name*, with the date when its record may be deleted.

        A task that has ended, under this or another id, has its date from the end. One that is open
        has it from when it last moved, and only by a rule that names its state.
        """
        if outcome.state == SCHEDULED:
            return outcome
        since = outcome.stale_from if outcome.open else outcome.date_done
        kept = (
            self._of_state(outcome.state) if outcome.open else self._of(outcome.state, name or "")
        )
        if kept is None or since is None:
            return outcome
        return outcome._replace(expire_at=_later(since, kept))

    def _of_state(self, state: str) -> timedelta | None:
        return next((kept for pattern, kept in self.rules if pattern == state), None)

    def _of(self, state: str, name: str) -> timedelta | None:
        # What never ran is kept as long as the failure that stopped it, unless a rule names it.
        named = any(pattern == NOT_RUN for pattern, _ in self.rules)
        states = {FAILURE} if state == NOT_RUN and not named else {state}
        for pattern, kept in self.rules:
            if pattern in states or (pattern not in STATES and fnmatch.fnmatchcase(name, pattern)):
                return kept
        return None


def _later(when: datetime, by: timedelta) -> datetime:
    try:
        return when + by
    except OverflowError:
        return when.replace(year=_LATEST_YEAR)
