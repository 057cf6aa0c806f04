"""The term of a claim: how long its owner may send, and when others may take it away."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from fullresult.storage.clock import unstopped

FREE_AFTER = timedelta(minutes=1)
"""The age at which anybody may take a claim away: sending takes milliseconds, unless the broker
stalls."""


class TermOver(Exception):
    """The claim is too old to send by it: somebody else may have it by now."""


def is_free(claimed: datetime, now: datetime) -> bool:
    """True if a claim of that time may be taken away, by the storage's clock."""
    return now - claimed >= FREE_AFTER


class Term:
    """The time in which a claim may be sent. It begins before the claim does.

    It is half of the age at which others may take the claim away, so that no message leaves after
    that, even if the process was stopped between its claim and its message.
    """

    def __init__(self, ask: Callable[[], datetime], rescue_after: timedelta | None = None) -> None:
        free = FREE_AFTER if rescue_after is None else min(FREE_AFTER, rescue_after)
        self._most = free.total_seconds() / 2
        self._clock = unstopped(ask)
        self._began = self._clock()

    @property
    def age(self) -> float:
        """Seconds since it began. Raises `StorageError` where only the storage knows."""
        return self._clock() - self._began

    def check(self) -> None:
        """Raise `TermOver` if it is over."""
        if self.age >= self._most:
            raise TermOver("it was claimed too long ago to be sent: somebody else may have it")
