"""The audit log: who asked for an action, through which door, and how it ended."""

from __future__ import annotations

import json
import logging
import os
import pwd
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
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
"""Tasks that one audit entry names. More make several entries."""
_LONGEST = 1024 * 1024
"""Characters of an audit entry's details."""
_LONGEST_PROBLEM = 1_000
"""Characters of the reason why one task was not acted on."""
_PORTION = 100
"""Tasks that are written together. A killed process leaves at most these out of the log."""
_PAGE = ("limit", "after", "order")
_SHOWN = frozenset(
    {"task_id", "queue", "exchange", "routing_key", "priority"}
    | {"countdown", "eta", "expires", "keep_group"}
)
"""Options of a re-send that the audit log has with their values, and others by name only."""


def log_unwritten(why: str) -> None:
    """Log that the audit log could not be written."""
    logger.error("fullresult: what was done is not in the audit log: %s", why)


@dataclass(frozen=True)
class Actor:
    """Who asks for an action, and through which door."""

    name: str
    door: str
    """`command line`, `web`, `admin` (Django's) or `python`. Audit entries have it as `by`."""
    host: str | None = None
    unwritten: Callable[[str], object] = log_unwritten
    """Called with the reason if the audit log cannot be written. The deed is done by then."""

    @property
    def details(self) -> dict[str, str]:
        return {"by": self.door, **({"host": self.host} if self.host else {})}


def actor_here(
    door: str, name: str | None = None, unwritten: Callable[[str], object] = log_unwritten
) -> Actor:
    """*name* on this host; without one, the user of this process."""
    return Actor(name or _user(), door, socket.gethostname(), unwritten)


def _user() -> str:
    """The user's name. It is not read from the environment, which anybody may set."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


class AuditLog:
    """The audit log of one storage. Raises `StorageError` if that keeps none."""

    def __init__(self, storage: Storage, redactor: Redactor | None = None) -> None:
        if not isinstance(storage, AuditStorage):
            raise StorageError("this storage keeps no audit log")
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
        entry_id: str | None = None,
    ) -> None:
        """Write that *actor* did *action* to these tasks at this moment.

        With *entry_id*, only if there is no entry of that id; it is for at most 1,000 tasks.
        """
        if details and self._redactor is not None:
            details = self._redactor.details(details)
        at, shown = self._now(), _plain(details or {})
        words = map(encoding.key, (actor, action, outcome))
        actor, action, outcome = words
        ids = list(dict.fromkeys(map(encoding.key, task_ids)))
        for some in _portions(ids):
            known = entry_id or new_entry_id()
            entry = AuditEntry(known, at, actor, action, tuple(some), shown, outcome)
            self._storage.keep_audit(entry)

    def find(self, query: AuditQuery) -> list[AuditEntry]:
        return self._storage.find_audit(query)


class Trail:
    """Writes one action of one actor to the audit log, task by task as it is done or fails.

    Writes nothing if the storage keeps no audit log. After one failed write it tells the actor, and
    writes no more.
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
        """Note a task to which the action was done, and the id under which it was sent."""
        self._done[task_id] = new_id
        if len(self._done) >= _PORTION:
            self._flush_done()

    def failed(self, task_id: str, problem: str) -> None:
        """Note a task to which the action could not be done."""
        self._problems[task_id] = _clipped(problem)
        if len(self._problems) >= _PORTION:
            self._flush_failed()

    def flush(self) -> None:
        """Write what was noted and is not written yet."""
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
        """Write one entry about these tasks."""
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
        """Write one entry that says why the action failed."""
        self.write(task_ids, {"problem": problem_of(error)}, "failed")

    def broken_off(self, deleted: int, error: BaseException) -> None:
        """Write how many records were deleted before *error*, or that none was."""
        why = problem_of(error)
        if deleted:
            self.write([], {"deleted": deleted, **({"problem": why} if why else {})})
        elif isinstance(error, Exception) and self._log is not None:
            details = {**self._details, "problem": why}
            with suppress(StorageError):  # Nothing was done, and that is said anyway.
                self._log.write(self._action, self._actor.name, (), details, "failed")


def filters_of(query: TaskQuery | None) -> dict[str, Any]:
    """The filters of *query*, as details of an audit entry. Its page is left out."""
    if query is None:
        return {}
    given = {
        each.name: plain(getattr(query, each.name))
        for each in fields(query)
        if each.name not in _PAGE and getattr(query, each.name) != each.default
    }
    return {"filters": given} if given else {}


def changes_of(
    args: Sequence[Any] | None, kwargs: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """The changes that a re-send makes. The new arguments stand in its record."""
    changed = [part for part, given in (("args", args), ("kwargs", kwargs)) if given is not None]
    changed += sorted(options.keys() - _SHOWN)
    shown = {name: plain(options[name]) for name in sorted(options.keys() & _SHOWN)}
    return {**({"changed": changed} if changed else {}), **shown}


def problem_of(error: BaseException) -> str:
    """The text of *error*, as details of an audit entry have it."""
    return _clipped(encoding.safe_str(error))


def _clipped(text: str) -> str:
    return encoding.clip(text, _LONGEST_PROBLEM)


def new_entry_id() -> str:
    """An id greater than those before, so that a listing is in order within a millisecond too."""
    return f"{time.time_ns():016x}{uuid4().hex[:16]}"


def _portions(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    """*ids* in portions of `_MOST_IDS`. No ids are one portion, for an action without tasks."""
    return [ids[start : start + _MOST_IDS] for start in range(0, len(ids) or 1, _MOST_IDS)]


def _plain(details: Mapping[str, Any]) -> dict[str, Any]:
    """*details* as JSON. A value that JSON cannot hold becomes its text."""
    text = json.dumps(dict(details), default=encoding.safe_str)
    if len(text) > _LONGEST:
        return {"cut": f"{len(text)} characters"}
    return dict(json.loads(text))
