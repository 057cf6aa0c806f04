"""The audit log's entry, and the query for such."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fullresult.record import pages


@dataclass(frozen=True)
class AuditEntry:
    """One thing that somebody did."""

    entry_id: str
    at: datetime
    """By the storage's clock: aware, UTC, to the millisecond."""
    actor: str
    action: str
    """`resend`, `cancel` and so on: what the command of that name does."""
    task_ids: tuple[str, ...]
    """The tasks it was done to, as far as they were told one by one."""
    details: Mapping[str, Any]
    """What else is to be known of it, as JSON can hold it."""
    outcome: str
    """`done`, or what became of it."""

    @property
    def cursor(self) -> str:
        """Where this entry stands in a listing: what `AuditQuery(after=…)` takes."""
        return pages.cursor(self.at, self.entry_id)


@dataclass(frozen=True)
class AuditQuery:
    """Which entries, the newest first. Every field narrows; None asks nothing."""

    actor: str | None = None
    action: str | None = None
    task_id: str | None = None
    """Done to this task, perhaps among others."""
    since: datetime | None = None
    """At this time or later."""
    until: datetime | None = None
    """Before this time."""
    limit: int | None = 100
    """At most so many; None: all."""
    after: str | None = None
    """The `cursor` of the last entry of the page before."""

    def __post_init__(self) -> None:
        pages.check(self, "since", "until")
        pages.check_texts(self, "actor", "action", "task_id")

    @property
    def position(self) -> pages.Position | None:
        """`after` as (at, entry id)."""
        return pages.position(self, "an entry")
