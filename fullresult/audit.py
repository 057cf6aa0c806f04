"""What people did, who and when: the entries of the audit log, and the query for them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from fullresult import encoding
from fullresult.storage import AuditStorage, Storage, StorageError

_MOST_IDS = 1_000
"""What was done to more tasks is told by several entries."""
_LONGEST = 1024 * 1024
"""Characters of an entry's details."""


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
        return f"{self.at.isoformat(timespec='milliseconds')}|{self.entry_id}"


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
        for name in ("since", "until"):
            when = getattr(self, name)
            if when is not None and when.tzinfo is None:
                raise ValueError(f"AuditQuery.{name} must be an aware datetime, not {when!r}")
        if self.limit is not None and self.limit < 0:
            raise ValueError(f"AuditQuery.limit must be 0 or more, not {self.limit!r}")
        if self.after is not None:
            self.position  # noqa: B018  (raises for what is no cursor)

    @property
    def position(self) -> tuple[datetime, str] | None:
        """`after` as (at, entry id)."""
        if self.after is None:
            return None
        date, bar, entry_id = self.after.partition("|")
        try:
            when = datetime.fromisoformat(date)
        except ValueError:
            when = None
        if not bar or when is None or when.tzinfo is None:
            raise ValueError(f"AuditQuery.after must be an entry's cursor, not {self.after!r}")
        return when, entry_id


class AuditLog:
    """The audit log of one storage. Raises `StorageError` where that keeps none."""

    def __init__(self, storage: Storage) -> None:
        if not isinstance(storage, AuditStorage):
            raise StorageError(f"{storage!r} keeps no audit log")
        self._now = storage.now
        self._storage: AuditStorage = storage

    def write(
        self,
        action: str,
        actor: str,
        task_ids: Iterable[str],
        details: Mapping[str, Any] | None,
        outcome: str,
    ) -> None:
        """Keep that *actor* did *action* to these tasks, just now."""
        at, told = self._now(), _plain(details or {})
        words = map(encoding.key, (actor, action, outcome))
        actor, action, outcome = words
        ids = list(dict.fromkeys(map(encoding.key, task_ids)))
        for some in _portions(ids):
            entry = AuditEntry(uuid4().hex, at, actor, action, tuple(some), told, outcome)
            self._storage.keep_audit(entry)

    def find(self, query: AuditQuery) -> list[AuditEntry]:
        return self._storage.find_audit(query)


def _portions(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    """*ids* in parts; what was done to no task in particular is one part, too."""
    return [ids[start : start + _MOST_IDS] for start in range(0, len(ids) or 1, _MOST_IDS)]


def _plain(details: Mapping[str, Any]) -> dict[str, Any]:
    """*details* as JSON can hold them: what it does not know becomes its text."""
    text = json.dumps(dict(details), default=encoding.safe_str)
    if len(text) > _LONGEST:
        return {"cut": f"{len(text)} characters"}
    return dict(json.loads(text))
