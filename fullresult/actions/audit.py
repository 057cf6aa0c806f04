"""What people did, who and when: the entries of the audit log, and the query for them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from fullresult.record import encoding
from fullresult.record.audit import AuditEntry, AuditQuery
from fullresult.storage import AuditStorage, Storage, StorageError

_MOST_IDS = 1_000
"""What was done to more tasks is told by several entries."""
_LONGEST = 1024 * 1024
"""Characters of an entry's details."""


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
            entry = AuditEntry(_new_id(), at, actor, action, tuple(some), told, outcome)
            self._storage.keep_audit(entry)

    def find(self, query: AuditQuery) -> list[AuditEntry]:
        return self._storage.find_audit(query)


def _new_id() -> str:
    """Greater than those made before: of one millisecond, too, a listing has the newest first."""
    return f"{time.time_ns():016x}{uuid4().hex[:16]}"


def _portions(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    """*ids* in parts; what was done to no task in particular is one part, too."""
    return [ids[start : start + _MOST_IDS] for start in range(0, len(ids) or 1, _MOST_IDS)]


def _plain(details: Mapping[str, Any]) -> dict[str, Any]:
    """*details* as JSON can hold them: what it does not know becomes its text."""
    text = json.dumps(dict(details), default=encoding.safe_str)
    if len(text) > _LONGEST:
        return {"cut": f"{len(text)} characters"}
    return dict(json.loads(text))
