"""Groups of failures, and what people decide about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

Status = Literal["open", "resolved", "muted"]


class Decision(NamedTuple):
    """The last thing that somebody decided about a group of failures."""

    fingerprint: str
    status: Status
    date_decided: datetime
    """A failure that ended at this time or earlier is dealt with if the status is "resolved"."""
    until_time: datetime | None
    """Muted until then."""
    until_count: int | None
    """Muted until it has failed that often since."""
    release: str | None
    """The release in which it had failed last."""
    actor: str
    note: str

    @property
    def is_resolved(self) -> bool:
        return self.status == "resolved"


@dataclass(frozen=True)
class FailureQuery:
    """Which groups of failures."""

    since: datetime | None = None
    """Failed since; what failed earlier is not counted either."""
    fingerprint: str | None = None
    """This one only."""
    most: int = 1_000
    """The greatest number of failures that are counted in each group."""
    limit: int = 100
    """The greatest number of groups."""


class FailureGroup(NamedTuple):
    """The failures of one fingerprint."""

    fingerprint: str
    date_first: datetime
    """The end of its first failure, of those that are recorded."""
    date_last: datetime
    newest_id: str
    """The task that failed last."""
    name: str | None
    state: str
    exception_type: str | None
    exception_message: str | None
    stamp: str
    """That task's outcome's; it names the release."""
    number: int
    """Failures in the time asked for; `FailureQuery.most` at most."""
    unresolved: int
    """Those of the counted ones that are not dealt with."""
    decision: Decision | None
