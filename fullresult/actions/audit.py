"""The audit log: who asks for an action, through which door, and what becomes of it."""

from __future__ import annotations

import json
import logging
import os
import pwd
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from fullresult.insight.document import plain
from fullresult.record import encoding
from fullresult.record.audit import AuditEntry, AuditQuery
from fullresult.storage import AuditStorage, Storage, StorageError, TaskQuery

if TYPE_CHECKING:
    from fullresult.recording.redaction import Redactor

logger = logging.getLogger(__name__)

_MOST_IDS = 1_000
"""Tasks that one entry names; of more there are several entries."""
_LONGEST = 1024 * 1024
"""Characters of an entry's details."""
_LONGEST_PROBLEM = 1_000
_PORTION = 100
"""Tasks that are written together: a killed process leaves no more than these out of the log."""
_PAGE = ("limit", "after", "order")


def log_unwritten(why: str) -> None:
    """Tell the process's log that the audit log could not be written."""
    logger.error("fullresult: what was done is not in the audit log: %s", why)


@dataclass(frozen=True)
class Actor:
    """Who asks for an action, and through which door."""

    name: str
    door: str
    """`command line`, `web` or `python`; an entry of the audit log has it as `by`."""
    host: str | None = None
    unwritten: Callable[[str], object] = log_unwritten
    """Told why, where the audit log could not be written. What was done stays done."""

    @property
    def details(self) -> dict[str, str]:
        return {"by": self.door, **({"host": self.host} if self.host else {})}


def actor_here(
    door: str, name: str | None = None, unwritten: Callable[[str], object] = log_unwritten
) -> Actor:
    """*name*, or else the operating system's user of this process, on this host."""
    return Actor(name or _user(), door, socket.gethostname(), unwritten)


def _user() -> str:
    """The user's name; not from the environment, which anybody may set."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


class AuditLog:
    """The audit log of one storage. Raises `StorageError` where that keeps none."""

    def __init__(self, storage: Storage, redactor: Redactor | None = None) -> None:
        if not isinstance(storage, AuditStorage):
            raise StorageError(f"{storage!r} keeps no audit log")
        self._now = storage.now
        self._storage: AuditStorage = storage
        self._redactor = redactor

    def write(
        self,
        action: str,
        actor: str,
        task_ids: Iterable[str],
        details: Mapping[str, Any] | None,
        outcome: str,
    ) -> None:
        """Keep that *actor* did *action* to these tasks, just now."""
        if details and self._redactor is not None:
            details = self._redactor.details(details)
        at, shown = self._now(), _plain(details or {})
        words = map(encoding.key, (actor, action, outcome))
        actor, action, outcome = words
        ids = list(dict.fromkeys(map(encoding.key, task_ids)))
        for some in _portions(ids):
            entry = AuditEntry(_new_id(), at, actor, action, tuple(some), shown, outcome)
            self._storage.keep_audit(entry)

    def find(self, query: AuditQuery) -> list[AuditEntry]:
        return self._storage.find_audit(query)


class Trail:
    """Writes one action of one actor into the audit log, task by task as it is done or fails.

    A storage that keeps no log is left alone. After a write that failed, the actor is told and
    nothing more is tried.
    """

    def __init__(
        self,
        storage: Storage,
        redactor: Redactor | None,
        actor: Actor,
        action: str,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        self._log = AuditLog(storage, redactor) if isinstance(storage, AuditStorage) else None
        self._actor = actor
        self._action = action
        self._details = {**(details or {}), **actor.details}
        self._done: dict[str, str | None] = {}
        self._problems: dict[str, str] = {}

    def done(self, task_id: str, new_id: str | None = None) -> None:
        """It was done to *task_id*, which is sent again under *new_id*, if it is sent."""
        self._done[task_id] = new_id
        if len(self._done) >= _PORTION:
            self._flush_done()

    def failed(self, task_id: str, problem: str) -> None:
        """It could not be done to *task_id*."""
        self._problems[task_id] = _clipped(problem)
        if len(self._problems) >= _PORTION:
            self._flush_failed()

    def flush(self) -> None:
        """Write what was noted since the last time."""
        self._flush_done()
        self._flush_failed()

    def _flush_done(self) -> None:
        done, self._done = self._done, {}
        new = {old: new for old, new in done.items() if new not in (None, old)}
        if done:
            self.write(done, {"new_ids": new} if new else {})

    def _flush_failed(self) -> None:
        problems, self._problems = self._problems, {}
        if problems:
            self.write(problems, {"problems": problems}, "failed")

    def write(
        self, task_ids: Iterable[str], details: Mapping[str, Any], outcome: str = "done"
    ) -> None:
        """One entry about *task_ids*."""
        ids = list(task_ids)
        who = (self._actor.name, self._action, len(ids), ids[:3], outcome)
        logger.info("fullresult: %s did %s to %d tasks, first %r: %s", *who)
        if self._log is None:
            return
        every = {**self._details, **details}
        try:
            self._log.write(self._action, self._actor.name, ids, every, outcome)
        except StorageError as error:
            self._log = None
            self._actor.unwritten(str(error))

    def write_problem(self, task_ids: Iterable[str], error: BaseException) -> None:
        """One entry that says that it failed."""
        self.write(task_ids, {"problem": _clipped(encoding.safe_str(error))}, "failed")


def filters_of(query: TaskQuery | None) -> dict[str, Any]:
    """The details that tell which tasks *query* asks for, whatever its page."""
    if query is None:
        return {}
    given = {
        each.name: plain(getattr(query, each.name))
        for each in fields(query)
        if each.name not in _PAGE and getattr(query, each.name) != each.default
    }
    return {"filters": given} if given else {}


def _clipped(text: str) -> str:
    return encoding.clip(text, _LONGEST_PROBLEM)


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
