"""A batch of schedules that a sweeper claimed, and the numbers of what a sweep did."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from fullresult.record import TaskRecord
from fullresult.record.merging import fold
from fullresult.record.schedule import Schedule
from fullresult.scheduling.claim_term import Term
from fullresult.scheduling.sender import QueueRefused

if TYPE_CHECKING:
    from fullresult.storage import ScheduleStorage

logger = logging.getLogger(__name__)


class Swept(NamedTuple):
    """How many schedules a sweep claimed, and what became of them."""

    claimed: int = 0
    sent: int = 0
    expired: int = 0
    """Ended as REVOKED, not sent."""
    failed: int = 0
    """Left claimed for a person: not a message, or perhaps sent."""
    released: int = 0
    """Claimed and given back, not sent."""

    def __add__(self, other: object) -> Swept:
        assert isinstance(other, Swept)
        return Swept(*(a + b for a, b in zip(self, other, strict=True)))


class Batch:
    """The schedules of one claim, on their way to the broker."""

    def __init__(
        self, claim: str, at: datetime, term: Term, schedules: list[Schedule], *, full: bool
    ) -> None:
        self.claim = claim
        self.full = full
        """True if more may be due."""
        self.at = at
        self.term = term
        self.waiting = schedules
        self.closed: list[Schedule] = []
        self.ended: list[Schedule] = []
        self.events: list[TaskRecord] = []
        self.sent = self.expired = self.failed = self.released = 0
        self.problems: list[tuple[Schedule, str]] = []
        self.refused: list[Schedule] = []
        self.refusals: dict[str | None, QueueRefused] = {}
        """The refusals, by queue."""

    @property
    def is_plain(self) -> bool:
        """True if all of it was sent, and has only to be marked."""
        return not (self.waiting or self.refused or self.problems or self.ended)

    @property
    def unsent(self) -> list[Schedule]:
        """The schedules to be given back."""
        return self.waiting + self.refused

    def set_aside(self, schedule: Schedule, problem: str) -> None:
        """Leave *schedule* claimed for a person, because of *problem*."""
        logger.error(
            "fullresult: task %s stays claimed, see `fullresult stale-scheduled`: %s",
            schedule.task_id,
            problem,
        )
        self.failed += 1
        self.problems.append((schedule, problem))

    def mark(self, storage: ScheduleStorage) -> None:
        """Mark its sent schedules, and give back the others.

        If *storage* fails, a second call goes on where the first one stopped.
        """
        if self.closed:
            ids = [schedule.schedule_id for schedule in self.closed]
            storage.mark_sent(self.claim, ids, fold(self.events))
            self.closed, self.events = [], []
        while self.problems:
            schedule, problem = self.problems[0]
            storage.mark_problem(self.claim, schedule.schedule_id, problem)
            self.problems.pop(0)
        if self.unsent:
            ids = [schedule.schedule_id for schedule in self.unsent]
            self.released += len(storage.release(ids, self.claim))
            self.waiting, self.refused = [], []

    def leave_claimed(self) -> None:
        """Keep no more of it than can be given back, and not even that the second time."""
        if not (self.closed or self.problems):
            self.waiting, self.refused = [], []
        self.closed, self.events, self.problems = [], [], []

    @property
    def done(self) -> Swept:
        claimed = self.sent + self.expired + self.failed + self.released
        return Swept(claimed, self.sent, self.expired, self.failed, self.released)
