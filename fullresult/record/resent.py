"""The mark of a record whose task was sent again under a new id.

It names the outcome after which that happened: a task that ran again since, under its own id, has a
later outcome, and the mark is void. Of two marks the later counts.

A mark may also have the id under which the task was sent before: if the later one is taken back,
the task is as it was.
"""

from __future__ import annotations

import re
from datetime import datetime

from fullresult.record import encoding
from fullresult.record.dates import to_milliseconds

_LENGTH = re.compile(r"[0-9a-f]{1,8}")
_UNIQUE = re.compile(r"[^!#@~]*")
_AFTER = "~"
"""Follows the unique part of a stamp. It is greater than all that may follow there in a stamp."""
_TIME = 14
_SENT, _TAKEN_BACK = ".", "~"
"""The last character: what was sent again, or was not after all."""
_BEFORE = "\x1f"
"""Follows both ids, if there is one from before. Then comes its length."""


def mark(stamp: str | None, at: datetime, new_id: str | None, before: str | None = None) -> str:
    """The mark that the task whose outcome has *stamp* was sent again, *at* a time, as *new_id*.

    None takes earlier marks back: what was sent was cancelled before it ran. *before*: the id under
    which it was sent before that.
    """
    unique = _UNIQUE.match(stamp or "")
    outcome = unique[0] if unique else ""
    last = _TAKEN_BACK if new_id is None else f"{_ids(encoding.key(new_id), before)}{_SENT}"
    return f"{outcome}{_AFTER}{to_milliseconds(at):0{_TIME}x}{last}"


def _ids(new_id: str, before: str | None) -> str:
    if before is None and _BEFORE not in new_id:
        return new_id
    earlier = encoding.key(before or "")
    return f"{new_id}{earlier}{_BEFORE}{len(earlier):x}"


def new_id_in(mark: str) -> str | None:
    """The id that *mark* names; None if it takes others back."""
    return _ids_in(mark)[0]


def earlier_id_in(mark: str) -> str | None:
    """The id under which the task had been sent before that one, if the mark has it."""
    return _ids_in(mark)[1]


def _ids_in(mark: str) -> tuple[str | None, str | None]:
    told = mark.partition(_AFTER)[2][_TIME:]
    if not told.endswith(_SENT):
        return None, None
    ids, separator, length = told[:-1].rpartition(_BEFORE)
    if not separator or not _LENGTH.fullmatch(length) or int(length, 16) > len(ids):
        return told[:-1], None
    end = len(ids) - int(length, 16)
    return ids[:end], ids[end:] or None


def latest(a: str | None, b: str | None, stamp: str | None) -> str | None:
    """The later of two marks; None if the outcome with *stamp* came after it."""
    known = max(a, b) if a and b else a or b
    return known if known is not None and known > (stamp or "") else None
