"""The plan of an operation on a workflow: what is kept, what runs again, what runs at last."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

from fullresult.insight.surgery.signatures import Signature
from fullresult.record import TaskRecord

KNOWN = "celery.accumulate"
"""A task that every worker has: with `index=0` it returns its first argument."""
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
    queue: str | None
    """Where its task was sent."""


class Again(NamedTuple):
    """A member of a chord, or the rest of one that is a chain, to be run again."""

    record: TaskRecord
    rest: tuple[Signature, ...]


class Inner(NamedTuple):
    """A member of a chord that is a chord itself, whose body never ran."""

    header: tuple[Item, ...]
    body: Signature


Item = Value | Again | Inner


class Workflow(NamedTuple):
    """What one turn at a time is of: tasks that must not be sent twice."""

    kind: str
    """"fork", whose tasks have new ids, or "go on"."""
    task_id: str
    """The first task that would be sent under its own id. It is named in each turn's entries."""

    @property
    def digest(self) -> str:
        return hashlib.sha256(f"{self.kind} {self.task_id}".encode()).hexdigest()[:40]

    def begun_id(self, number: int) -> str:
        """The id of the entry that begins the turn of that number."""
        return f"0 turn {number} of {self.digest}"

    def end_id(self, number: int, unique: str) -> str:
        return f"{unique} end turn {number} of {self.digest}"


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
    header: tuple[Item, ...] = ()
    body: Signature | None = None
    forget: tuple[str, ...] = ()
    """Ids under which a result backend may have the error of the task that failed."""
    chords: tuple[str, ...] = ()
    """The group ids of the chords in whose place a new one is sent."""
    workflow: Workflow | None = None
    """What one turn at a time is of."""
    turn: int = 0
    """The number of the last turn that somebody took, seen before the records were read."""

    takes_over: bool = False
    """True if that turn has not ended."""

    def again(self) -> Iterator[TaskRecord]:
        """The records of the tasks that are sent again."""
        if self.record is not None:
            yield self.record
        yield from again_in(self.header)

    def document(self) -> dict[str, Any]:
        """The plan as JSON can hold it."""
        return {
            "operation": self.how,
            "task_id": self.task_id,
            "problem": self.problem,
            "instead": self.instead,
            "warnings": list(self.warnings),
            "turn": self.turn,
            "parts": [part._asdict() for part in self.parts],
        }


def again_in(items: Iterable[Item]) -> Iterator[TaskRecord]:
    """The records of the members that run again, of chords in them too."""
    for item in items:
        if isinstance(item, Again):
            yield item.record
        elif isinstance(item, Inner):
            yield from again_in(item.header)
