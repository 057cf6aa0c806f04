"""Replays in tests: one step of them, or all that sweepers would do."""

from __future__ import annotations

import time
from collections.abc import Callable

from celery import Celery

from fullresult import FullResult
from fullresult.actions.replays import Replays
from fullresult.record.replay import ACTIVE, Replay
from fullresult.scheduling.replay_governor import Governor
from tests.kit import browsing

FAST = 1_000.0
"""Tasks a second: all that a test has are due at once."""


def govern(governor: Governor, replays: Replays, replay_id: str) -> Replay:
    """One step of an active replay; what it is then."""
    governor.govern(replays.get(replay_id))
    return replays.get(replay_id)


def swept(full: FullResult, until: Callable[[], bool]) -> None:
    """Sweep until that is so, as workers would."""
    sweeper, end = full.parts.new_sweeper(), time.monotonic() + 30
    while not until():
        assert time.monotonic() < end
        sweeper.sweep()
    sweeper.close()


def is_over(replays: Replays, replay_id: str) -> Callable[[], bool]:
    return lambda: replays.get(replay_id).state not in ACTIVE


def sent(app: Celery) -> list[str]:
    """The ids of the messages that the broker got since."""
    return [str(message["id"]) for message in browsing.sent(app)]


def govern_and_send(
    app: Celery, full: FullResult, governor: Governor, replays: Replays, replay_id: str
) -> list[str]:
    """The ids of what it takes in one step."""
    govern(governor, replays, replay_id)
    swept(full, lambda: full.count_scheduled() == 0)
    return sent(app)
