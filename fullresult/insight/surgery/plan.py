"""The plan of an operation on a workflow: what is kept, what runs again, what runs at last."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from fullresult.insight.surgery.signatures import Signature
from fullresult.record import TaskRecord

How = Literal["resume", "heal", "fork"]
Fate = Literal["kept", "again", "first"]


class Part(NamedTuple):
    """One task of the workflow."""

    fate: Fate
    """"kept": its result is used. "again": it runs again. "first": it never ran, and will."""
    task_id: str
    name: str | None
    is_new: bool = False
    """True if it gets a new id."""
    depth: int = 0
    """In the tree: the members of a chord stand below it."""
    why: str | None = None


class Value(NamedTuple):
    """A member of a chord that has ended: its result stands in its place."""

    value: Any


class Again(NamedTuple):
    """A member of a chord, or the rest of one that is a chain, to be run again."""

    record: TaskRecord
    rest: tuple[Signature, ...]


class Plan(NamedTuple):
    """What an operation would do. If there is a `problem`, it would do nothing."""

    how: How
    task_id: str
    parts: tuple[Part, ...] = ()
    problem: str | None = None
    """Why it cannot be done."""
    instead: str | None = None
    """The operation that can, with its id: `fork 3f0c…`."""
    warnings: tuple[str, ...] = ()
    record: TaskRecord | None = None
    """What is sent again, in a resume or a fork."""
    rest: tuple[Signature, ...] | None = None
    """The later steps to send with it; None: those of its message."""
    header: tuple[Value | Again, ...] = ()
    body: Signature | None = None
    forget: tuple[str, ...] = ()
    """Ids under which a result backend may have the error of the task that failed."""

    def document(self) -> dict[str, Any]:
        """The plan as JSON can hold it."""
        return {
            "operation": self.how,
            "task_id": self.task_id,
            "problem": self.problem,
            "instead": self.instead,
            "warnings": list(self.warnings),
            "parts": [part._asdict() for part in self.parts],
        }
