"""The mark of a record whose task was sent again under a new id.

It names the outcome after which that happened: a task that ran again since, under its own id, has a
later outcome, and the mark is void. Of two marks the later counts.
"""

from __future__ import annotations

import re
from datetime import datetime

from fullresult.record import encoding
from fullresult.record.dates import to_milliseconds

_UNIQUE = re.compile(r"[^!#@~]*")
_AFTER = "~"
"""Follows the unique part of a stamp. It is greater than all that may follow there in a stamp."""
_TIME = 14
_SENT, _TAKEN_BACK = ".", "~"
"""The last character: what was sent again, or was not after all."""


def mark(stamp: str | None, at: datetime, new_id: str | None) -> str:
    """The mark that the task whose outcome has *stamp* was sent again, *at* a time, as *new_id*.

    None takes earlier marks back: what was sent was cancelled before it ran.
    """
    unique = _UNIQUE.match(stamp or "")
    outcome = unique[0] if unique else ""
    last = _TAKEN_BACK if new_id is None else f"{encoding.key(new_id)}{_SENT}"
    return f"{outcome}{_AFTER}{to_milliseconds(at):0{_TIME}x}{last}"


def new_id_in(mark: str) -> str | None:
    """The id that *mark* names; None if it takes others back."""
    told = mark.partition(_AFTER)[2][_TIME:]
    return told[:-1] if told.endswith(_SENT) else None


def latest(a: str | None, b: str | None, stamp: str | None) -> str | None:
    """The later of two marks; None if the outcome with *stamp* came after it."""
    known = max(a, b) if a and b else a or b
    return known if known is not None and known > (stamp or "") else None
