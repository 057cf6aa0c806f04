"""An entry of the audit log, and the query for entries."""

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
    """The name of the command that does it: `resend`, `cancel`, …"""
    task_ids: tuple[str, ...]
    """The tasks it was done to, as far as they were named one by one."""
    details: Mapping[str, Any]
    """More about it, in values that JSON can hold."""
    outcome: str
    """`done`, or what happened instead."""

    @property
    def cursor(self) -> str:
        """The position of this entry in a listing, for `AuditQuery(after=…)`."""
        return pages.cursor(self.at, self.entry_id)


@dataclass(frozen=True)
class AuditQuery:
    """Which entries, the newest first. One matches if every field that is not None does."""

    actor: str | None = None
    action: str | None = None
    task_id: str | None = None
    """Done to this task, alone or among others."""
    since: datetime | None = None
    """At this time or later."""
    until: datetime | None = None
    """Before this time."""
    limit: int | None = 100
    """The greatest number of entries in a page; None: all."""
    after: str | None = None
    """The `cursor` of the last entry on the previous page."""

    def __post_init__(self) -> None:
        pages.check(self, "since", "until")
        pages.check_texts(self, "actor", "action", "task_id")

    @property
    def position(self) -> pages.Position | None:
        """`after` as (at, entry id)."""
        return pages.position(self, "an entry")
