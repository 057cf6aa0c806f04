"""An explanation, and what a single rule finds."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal, NamedTuple

from fullresult.insight.document import plain

Confidence = Literal["certain", "likely", "possible"]
"""certain: something holds it in its hand, or stored it. likely: by exclusion, and everything that
could say otherwise has answered. possible: something did not answer."""


class Evidence(NamedTuple):
    """One thing that was known or answered."""

    source: str
    """`record`, `schedule`, `audit log`, `broker`, `worker w1@host`, `card of w1@host`, …"""
    at: datetime | None
    """When that was so."""
    said: str


class Finding(NamedTuple):
    """What one rule finds."""

    verdict: str
    """The rule's name, for programs."""
    sentence: str
    confidence: Confidence = "certain"
    evidence: tuple[Evidence, ...] = ()
    commands: tuple[str, ...] = ()
    """What to run, or to set."""


@dataclass(frozen=True)
class Explanation:
    """Why a task is as it is, or was as it was."""

    task_id: str
    at: datetime
    """By the storage's clock."""
    known: bool
    """False if neither a record nor a schedule has this id, and nothing that is open names it."""
    verdict: str
    sentence: str
    confidence: Confidence
    evidence: tuple[Evidence, ...]
    commands: tuple[str, ...]
    also: tuple[Finding, ...]
    """What else is true of the task, the more important first."""
    unknown: tuple[str, ...]
    """What could not be asked, and why."""

    @property
    def document(self) -> dict[str, Any]:
        """As values that JSON can hold."""
        found: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        found["evidence"] = [each._asdict() for each in self.evidence]
        found["also"] = [
            {**each._asdict(), "evidence": [one._asdict() for one in each.evidence]}
            for each in self.also
        ]
        return {name: plain(value) for name, value in found.items()}


def at(when: datetime, now: datetime) -> str:
    """A time in UTC, with the date unless that is *now*'s."""
    utc = when.astimezone(timezone.utc)
    today = utc.date() == now.astimezone(timezone.utc).date()
    return f"{utc:%H:%M:%S} UTC" if today else f"{utc:%Y-%m-%d %H:%M:%S} UTC"


def names(of: tuple[str, ...] | list[str], most: int = 5) -> str:
    """`a`, `a and b`, `a, b and 7 more`."""
    shown = list(of[:most])
    if len(of) > most:
        return f"{', '.join(shown)} and {len(of) - most} more"
    return " and ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))


COMMAND = "celery -A proj fullresult "
"""What every command of ours begins with."""


def resend(task_id: str, but: str = "", options: str = "") -> str:
    """The command that sends the task again; *but* says, as a comment, when that is wrong."""
    comment = f"  # {but}" if but else ""
    return f"{COMMAND}resend {word(task_id)}{options}{comment}"


def word(text: str) -> str:
    """*text*, which came with a task, as one word of a command that a person may paste."""
    quoted = shlex.quote(text)
    return f"-- {quoted}" if text.startswith("-") else quoted
