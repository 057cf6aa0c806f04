"""What a command did, in the audit log: after it was done, and whatever became of the log."""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fullresult.cli.terminal import say
from fullresult.insight.safe_text import one_line
from fullresult.storage import AuditStorage, StorageError

if TYPE_CHECKING:
    from fullresult.extension import FullResult

_PORTION = 100
"""So many tasks are told together: of what a killed command did, no more is missing."""


def write_down(
    full: FullResult,
    action: str,
    task_ids: Sequence[str] = (),
    details: Mapping[str, Any] | None = None,
) -> bool:
    """Keep that the user of this process did *action*; a failure is said, and answered False."""
    if not isinstance(full.storage, AuditStorage):
        return True
    told = {**(details or {}), "by": "command line", "host": socket.gethostname()}
    try:
        full.audit(action, actor=_user(), task_ids=task_ids, details=told)
    except StorageError as error:
        say(f"It is done, but the audit log does not say so: {one_line(str(error))}", err=True)
        return False
    return True


def _user() -> str:
    """Not what the environment says: that anybody may set."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


class Log:
    """What one command did to many tasks, one after the other."""

    def __init__(
        self, full: FullResult, action: str, details: Mapping[str, Any] | None = None
    ) -> None:
        self._full = full
        self._action = action
        self._details = dict(details or {})
        self._done: dict[str, str | None] = {}
        self._works = True

    def note(self, task_id: str, new_id: str | None = None) -> None:
        """It was done to *task_id*, which then has, or is sent again under, *new_id*."""
        self._done[task_id] = new_id
        if len(self._done) >= _PORTION:
            self.flush()

    def flush(self) -> None:
        """Write what was noted."""
        done, self._done = self._done, {}
        if not done or not self._works:
            return
        new = {old: new for old, new in done.items() if new not in (None, old)}
        details = {**self._details, **({"new_ids": new} if new else {})}
        self._works = write_down(self._full, self._action, list(done), details)
