"""Turns: who may operate on a workflow. One is taken before the first message is sent.

A turn is two entries of the audit log, that it was begun and how it ended. The log keeps an entry
once under its id, so of all who begin a turn of one number, one has it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from fullresult.insight.surgery.plan import How, Workflow
from fullresult.insight.surgery.signatures import (
    first_id_of,
    membership_of,
    outermost,
    steps_of,
    tasks_in,
)
from fullresult.record import AuditEntry, AuditQuery, TaskRecord, encoding
from fullresult.storage import AuditStorage, Storage

BEGUN = "begun"
_ENTRY = re.compile(r"(0|.* end) turn (\d+) of ([0-9a-f]{40})")
"""The id of an entry. The times in the ids of all others are greater than 0."""


class Turn(NamedTuple):
    """One turn that somebody took."""

    number: int
    """From 1."""
    begun: AuditEntry
    end: AuditEntry | None
    """None: it goes on, or the process died."""

    @property
    def told(self) -> str:
        """Who took it, through which door, where and when."""
        entry = self.begun
        by, host, pid = (entry.details.get(name) for name in ("by", "host", "pid"))
        where = ", ".join(
            [str(by or "unknown"), *([f"host {host}"] if host else []), f"process {pid}"]
        )
        return f"{entry.actor} ({where}) at {entry.at:%Y-%m-%d %H:%M:%S} UTC"


def workflow_of(record: TaskRecord, how: How) -> Workflow:
    """The workflow on which *how* operates. Raises `TooDeep`."""
    if how == "fork":
        return Workflow("fork", record.task_id)
    chord = membership_of(record)
    if chord is not None:
        found = first_id_of(outermost(chord.body)) or chord.group_id
    else:
        later = (each for step in steps_of(record) for each, *_ in tasks_in(step))
        found = next(later, record.task_id)
    return Workflow("go on", encoding.key(found))


def last_turn(storage: Storage, workflow: Workflow) -> Turn | None:
    """The last turn that was taken; None if none was, or the storage keeps no audit log."""
    if not isinstance(storage, AuditStorage):
        return None
    begun: dict[int, AuditEntry] = {}
    ends: dict[int, AuditEntry] = {}
    for entry in storage.find_audit(AuditQuery(task_id=workflow.task_id, limit=None)):
        known = _ENTRY.fullmatch(entry.entry_id)
        if known is not None and known[3] == workflow.digest:
            (begun if known[1] == "0" else ends).setdefault(int(known[2]), entry)
    if not begun:
        return None
    number = max(begun)
    return Turn(number, begun[number], ends.get(number))
