"""Stamps: text whose order says which of two events of a task counts."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from fullresult.record.dates import from_milliseconds
from fullresult.record.states import (
    FAILURE,
    IGNORED,
    NOT_RUN,
    PENDING,
    REJECTED,
    RETRY,
    REVOKED,
    SCHEDULED,
    SCHEDULED_SENT,
    STARTED,
    SUCCESS,
    UNSENT,
)

RANK = {
    NOT_RUN: "-0",
    SCHEDULED: "00",
    SCHEDULED_SENT: "10",
    PENDING: "20",
    UNSENT: "30",
    STARTED: "40",
    RETRY: "50",
    REVOKED: "60",
    REJECTED: "60",
    IGNORED: "60",
    FAILURE: "68",
    SUCCESS: "6A",
}
REDELIVERED_SUCCESS = "69"
"""The rank of the success of a redelivered message. It is lower than SUCCESS: the first delivery
keeps the row, the second is kept as an entry."""
CUSTOM_STATE = "41"
"""The rank of a state of the user's own, just above STARTED."""
PUBLISHED_BELOW = "00000000021"
"""Greater than the stamp of every publish of a first attempt, and of no other event."""
BELOW_SUCCESS = "00000000069"
"""A lesser stamp is of no success, and takes the place of none."""
_RANK = slice(9, 11)
"""Where a stamp has the rank of its state."""
_FOR = "#"
"""Precedes the id of the schedule that the message of a run was sent for, before the worker's."""
_BY = "@"
"""Precedes the id of the worker that runs the task. The order never depends on that id."""
_RELEASE = "~"
"""Precedes the release of that worker, at the end."""
_AGAIN = "!"
"""Follows what makes a stamp unique if the message of the run was delivered before."""
_MARKED = "n"
"""Precedes the mark of the broker of the process that made a stamp; no digit of older stamps."""
_MARK = slice(29, 33)
"""Where a stamp has it: behind the attempt, the rank, the microseconds and the counter."""


class Moment(NamedTuple):
    """An instant that differs from every other, in any process."""

    at: datetime
    """UTC, to the millisecond."""
    tail: str
    """Microseconds since 1970, a counter, the process: they make a stamp unique."""

    def of_worker(self, worker_id: str, release: str | None = None) -> Moment:
        """The same moment, whose stamps name the worker that runs the task; "" names none."""
        if not worker_id:
            return self
        code = f"{_RELEASE}{release}" if release else ""
        return Moment(self.at, f"{self.tail}{_BY}{worker_id}{code}")

    def of_delivery(self, schedule_id: str, *, redelivered: bool = False) -> Moment:
        """The same moment, whose stamps name the schedule that was run; "" names none.

        They also say if the message was delivered before.
        """
        if not schedule_id and not redelivered:
            return self
        unique, by, worker_id = self.tail.partition(_BY)
        again, sent = _AGAIN * redelivered, f"{_FOR}{schedule_id}" if schedule_id else ""
        return Moment(self.at, f"{unique}{again}{sent}{by}{worker_id}")


class Clock:
    """Makes the moments of this process, no two the same. It has no lock that forks could break.

    With *mark*, three letters or digits, its stamps tell the broker to which the process publishes.
    """

    def __init__(self, mark: str = "") -> None:
        self._marked = f"{_MARKED}{mark}" if mark else ""
        self._counter = itertools.count()
        self._pid = 0
        self._tag = ""

    def moment(self, *, marked: bool = True) -> Moment:
        """Now; *marked* is False for a message that goes to a broker that is not the app's."""
        if self._pid != os.getpid():
            self._tag, self._pid = os.urandom(4).hex(), os.getpid()
        now = time.time_ns() // 1000
        # Two moments of one task differ by what is before the tag, or else by four of its digits.
        tag = f"{self._marked}{self._tag[4:]}" if self._marked and marked else self._tag
        # The counter orders moments of one microsecond.
        tail = f"{now:014x}{next(self._counter) & 0xFFFF:04x}{tag}"
        return Moment(from_milliseconds(now // 1000), tail)


class Attempt(NamedTuple):
    """The attempt at a task that an event belongs to."""

    nesting: int = 0
    """Celery's `replaced_task_nesting`."""
    retries: int = 0

    def stamp(self, state: str, moment: Moment, *, redelivered: bool = False) -> str:
        """Fixed-width text, ordered by attempt, then state, then time, then process."""
        rank = RANK.get(state, CUSTOM_STATE)
        if redelivered and state == SUCCESS:
            rank = REDELIVERED_SUCCESS
        if self is FIRST:
            return f"000000000{rank}{moment.tail}"
        return f"{self.nesting:03d}{self.retries:06d}{rank}{moment.tail}"

    @classmethod
    def of(cls, nesting: object, retries: object) -> Attempt:
        """The attempt that a message names; what is no whole number counts as 0."""
        if nesting == 0 == retries or (nesting is None and retries is None):
            return FIRST
        return cls(_bounded(nesting, 999), _bounded(retries, 999_999))

    @classmethod
    def in_stamp(cls, stamp: str) -> Attempt:
        """The attempt that *stamp* names."""
        return cls(int(stamp[:3]), int(stamp[3:9]))


FIRST = Attempt()
LAST = Attempt(999, 999_999)
"""Greater than any: what has its stamp loses to every message that was ever published."""


def worker_in(stamp: str) -> str:
    """The id of the worker that *stamp* names; "" for none."""
    return stamp.partition(_BY)[2].partition(_RELEASE)[0]


def release_in(stamp: str) -> str:
    """The release of the worker that *stamp* names; "" for none."""
    return stamp.partition(_BY)[2].partition(_RELEASE)[2]


def mark_in(stamp: str) -> str:
    """The mark of the broker of the process that made *stamp*; "" if it has none."""
    found = stamp[_MARK]
    return found[1:] if found.startswith(_MARKED) else ""


def rank_in(stamp: str) -> str:
    """The rank that *stamp* has, of `RANK` and the others."""
    return stamp[_RANK]


def is_redelivery(stamp: str) -> bool:
    """True if *stamp* is of a run whose message was delivered before."""
    return stamp.partition(_BY)[0].partition(_FOR)[0].endswith(_AGAIN)


def named_by(stamp: str, other: str) -> str:
    """*stamp*, with the worker that *other* names where it names none itself."""
    by = other.partition(_BY)[1:]
    return stamp if _BY in stamp else stamp + "".join(by)


def schedule_in(stamp: str) -> str:
    """The id of the schedule that *stamp* names: its message was sent. "" for none."""
    return stamp.partition(_BY)[0].partition(_FOR)[2]


def _bounded(value: object, most: int) -> int:
    return min(max(value, 0), most) if isinstance(value, int) else 0


def attempt_in(headers: Mapping[str, Any]) -> Attempt:
    """The attempt that a message with *headers* is for."""
    return Attempt.of(headers.get("replaced_task_nesting"), headers.get("retries"))
