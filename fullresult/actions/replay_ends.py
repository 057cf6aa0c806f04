"""Ending a replay part by part: it may have taken a million, and a request has little time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from fullresult.record.replay import Replayed
from fullresult.scheduling.replay_window import pages_of
from fullresult.storage.replays import ReplayStorage


class Part(NamedTuple):
    """The part of what a replay took that is ended at once: the last first."""

    seconds: float | None = None
    """What is not reached by then is left; None: nothing is."""
    before: int | None = None
    """Only what was taken before this position, at which another part ended."""


WHOLE = Part()


@dataclass(frozen=True)
class Undone:
    """What cancelling or undoing a replay, or a part of it, came to."""

    cancelled: int
    """Never sent."""
    revoked: list[str]
    """Ids that were sent and had not begun: workers were told to drop them."""
    ran: list[str]
    """Ids that began: their effects stay."""
    before: int | None = None
    """Time was up, and what was taken before this position is left; None: nothing is."""


class Walk:
    """The pages of *part*; then `before` says what is left."""

    def __init__(self, storage: ReplayStorage, replay_id: str, part: Part) -> None:
        self._storage = storage
        self._replay_id = replay_id
        self._part = part
        self.before: int | None = None

    def __iter__(self) -> Iterator[list[Replayed]]:
        seconds = self._part.seconds
        until = None if seconds is None else time.monotonic() + seconds
        for page in pages_of(self._storage, self._replay_id, self._part.before):
            yield page
            if until is not None and time.monotonic() > until:
                self.before = page[-1].position
                return
