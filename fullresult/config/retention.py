"""Retention: the time for which the record of an ended task is kept."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from datetime import datetime, timedelta

from fullresult.record import SCHEDULED, STATES, Outcome

_LATEST_YEAR = 9999


@dataclass(frozen=True)
class Retention:
    """The rules of `fullresult_retention`. The first that fits counts; if none does, for good."""

    rules: tuple[tuple[str, timedelta | None], ...]
    """Each is (a state or a glob of task names, a length of time or None for good)."""

    def of(self, outcome: Outcome, name: str | None) -> Outcome:
        """*outcome* of a task called *name*, with the date when its record may be deleted.

        Only the outcome of a task that has ended, under this or another id, gets a date.
        """
        if outcome.open or outcome.state == SCHEDULED or outcome.date_done is None:
            return outcome
        kept = self._of(outcome.state, name or "")
        if kept is None:
            return outcome
        return outcome._replace(expire_at=_later(outcome.date_done, kept))

    def _of(self, state: str, name: str) -> timedelta | None:
        for pattern, kept in self.rules:
            if pattern == state or (pattern not in STATES and fnmatch.fnmatchcase(name, pattern)):
                return kept
        return None


def _later(when: datetime, by: timedelta) -> datetime:
    try:
        return when + by
    except OverflowError:
        return when.replace(year=_LATEST_YEAR)
