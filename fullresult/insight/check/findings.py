"""What a check found: each finding is about one task and one way in which it is called."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from fullresult.insight.document import plain

Level = Literal["error", "warning"]

RULES = {
    "FR001": "the task is not registered",
    "FR002": "its arguments do not bind",
    "FR003": "its arguments bind only to a wrapper",
    "FR004": "its values do not validate",
    "FR005": "its content type is not accepted",
    "FR006": "its queue is not consumed",
    "FR007": "a task that it will call does not fit",
    "FR008": "a periodic task does not fit",
    "FR009": "it needs what this version does not know",
}


@dataclass(frozen=True)
class Place:
    """Where a task is defined."""

    file: str
    line: int
    """That of its `def`."""


@dataclass(frozen=True)
class Finding:
    """One thing that would break."""

    rule: str
    level: Level
    task: str
    """The name of the task that does not fit."""
    problem: str
    """Why, in one sentence."""
    heal: str
    """What to do."""
    count: int = 0
    """The number of tasks that are called so."""
    example: str | None = None
    """The id of one of them."""
    newest: datetime | None = None
    """When the newest of them was created."""
    first_due: datetime | None = None
    place: Place | None = None

    @property
    def key(self) -> str:
        """The same for the same problem, however many have it: for a file of known ones."""
        return f"{self.rule} {self.task}: {self.problem}"

    @property
    def document(self) -> dict[str, Any]:
        """As values that JSON can hold."""
        found = {name: getattr(self, name) for name in self.__dataclass_fields__}
        found["place"] = None if self.place is None else vars(self.place)
        found["key"] = self.key
        return {name: plain(value) for name, value in found.items()}


@dataclass
class Findings:
    """The answer of a check."""

    found: list[Finding] = field(default_factory=list)
    """Errors first, and of each kind first what is due first."""
    known: list[Finding] = field(default_factory=list)
    """Those that were accepted before."""
    checked: int = 0
    """The number of tasks that were looked at."""
    unchecked: int = 0
    """Tasks whose arguments are not known: only their names were checked."""
    notes: list[str] = field(default_factory=list)
    """What could not be checked, in sentences."""

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.found if finding.level == "error"]

    @property
    def document(self) -> dict[str, Any]:
        """As values that JSON can hold."""
        return {
            "checked": self.checked,
            "unchecked": self.unchecked,
            "notes": self.notes,
            "findings": [finding.document for finding in self.found],
            "known": [finding.key for finding in self.known],
        }
