"""How long the record of a task is kept once the task has ended."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from datetime import datetime, timedelta

from fullresult.record import SCHEDULED, STATES, Outcome

_LATEST_YEAR = 9999


@dataclass(frozen=True)
class Retention:
    """What `fullresult_retention` says: the first rule that fits counts; without one, for good."""

    rules: tuple[tuple[str, timedelta | None], ...]
    """(a state or a glob of task names, how long or None for good)"""

    def of(self, outcome: Outcome, name: str | None) -> Outcome:
        """*outcome* of a task called *name*, saying when its record may be deleted.

        Only that of a task that has ended, be it under another id, ever does.
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
