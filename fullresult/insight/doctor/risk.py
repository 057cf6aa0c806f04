"""A risk, and the report of all that were found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from fullresult.insight.document import plain

Severity = Literal["serious", "notable"]
"""serious: tasks are lost, late or run twice by it. notable: they may be."""


class Risk(NamedTuple):
    """One thing that is wrong, or will be."""

    name: str
    """For programs: `visibility timeout`, `no sweeper`, …"""
    severity: Severity
    sentence: str
    evidence: tuple[str, ...]
    """What was seen, each with its numbers."""
    why: str
    """Why it matters."""
    advice: str
    """What to set, or to run."""

    @property
    def document(self) -> dict[str, Any]:
        """As values that JSON can hold."""
        return {name: plain(value) for name, value in self._asdict().items()}


@dataclass(frozen=True)
class Checkup:
    """What was found in one look at an app."""

    at: datetime
    """By the storage's clock."""
    risks: tuple[Risk, ...]
    """The serious ones first."""
    unknown: tuple[str, ...]
    """What could not be looked at, and why."""
    looked_at: int
    """The records of a week that the numbers are made of, the newest ones."""
