"""Ending a replay: what it took is cancelled, or revoked, and told of as it is.

Part by part: it may have taken a million, and a request has little time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from fullresult.actions.told_workers import BrokerError, ToldWorkers, names_of
from fullresult.insight.words import count_of
from fullresult.record import (
    NOT_RUN,
    PENDING,
    REVOKED,
    SCHEDULED,
    SCHEDULED_SENT,
    UNSENT,
    TaskQuery,
    TaskRecord,
)
from fullresult.record.replay import UNDONE, Replay, Replayed
from fullresult.scheduling import replay_window
from fullresult.scheduling.revoked_results import store_revoked
from fullresult.scheduling.schedule_events import ScheduleEvents
from fullresult.storage.replays import ReplayStorage

if TYPE_CHECKING:
    from celery import Celery

    from fullresult.config import Settings

SETTLES = 1.0
"""Seconds within which what a worker was just beginning, when it was told, is in the storage."""
_EVERY = 0.1
_AT_ONCE = 500
_NOT_BEGUN = (PENDING, SCHEDULED_SENT, SCHEDULED)
"""The last are those that a sweeper has claimed: they are sent at this moment, or were."""
_NEVER_RAN = (REVOKED, UNSENT, NOT_RUN)


class Part(NamedTuple):
    """The part of what a replay took that is ended at once: the last first."""

    seconds: float | None = None
    """What is not reached by then is left; None: nothing is."""
    before: int | None = None
    """The position at which another part ended. It goes on from there, if that is so."""


WHOLE = Part()


@dataclass(frozen=True)
class Undone:
    """What cancelling or undoing a replay, or a part of it, came to."""

    cancelled: int
    """Never sent."""
    revoked: list[str] = field(default_factory=list)
    """Ids that were sent and have not begun: all living workers have confirmed to drop them."""
    ran: list[str] = field(default_factory=list)
    """Ids that began: their effects stay."""
    may_run: list[str] = field(default_factory=list)
    """Ids that were sent and have not begun, and that not all workers have confirmed to drop."""
    silent: list[str] = field(default_factory=list)
    """The workers that did not confirm; none of them lives, if there are none."""
    before: int | None = None
    """Time was up, and what was taken before this position is left; None: nothing is."""

    @property
    def why_not(self) -> str | None:
        """A sentence about those that may run; None if there are none."""
        if not self.may_run:
            return None
        who = f"{names_of(self.silent)} did not confirm" if self.silent else "no worker is alive"
        return f"{_may_run(len(self.may_run))}: {who}"


def _may_run(number: int) -> str:
    return f"{count_of(number)} may still run"


class Walk:
    """The pages of *part*; then `before` says what is left.

    It begins where the last part *did* end, as the replay itself has it.
    """

    def __init__(self, storage: ReplayStorage, replay: Replay, did: str, part: Part) -> None:
        self._storage = storage
        self._replay_id = replay.replay_id
        self._seconds = part.seconds
        known = replay.ended.get(did)
        goes_on = part.before is not None and known is not None
        self._from = max(known or 0, part.before or 0) if goes_on else None
        self.did = did
        self.is_first = not goes_on
        self.before: int | None = None

    def __iter__(self) -> Iterator[list[Replayed]]:
        until = None if self._seconds is None else time.monotonic() + self._seconds
        for page in replay_window.pages_of(self._storage, self._replay_id, self._from):
            yield page
            if until is not None and time.monotonic() > until:
                self.before = page[-1].position
                return


def after_part(replay: Replay, walk: Walk, part: Undone, actor: str) -> Replay:
    """*replay* when *actor* has ended a part of it: so nobody has to be believed how far."""
    ended = {did: before for did, before in replay.ended.items() if did != walk.did}
    if walk.before is not None:
        ended[walk.did] = walk.before
    after = replace(replay, ended=ended)
    if walk.did == "undo":
        number = len(part.may_run) + (0 if walk.is_first else replay.may_run)
        after = replace(after, may_run=number)
        if walk.before is None and number:
            why = part.why_not or _may_run(number)
            after = replace(after, reason=f"undo by {actor} is not complete: {why}")
        elif walk.before is None:
            after = replace(after, state=UNDONE, reason=f"undone by {actor}")
    return after if after == replay else replace(after, version=replay.version + 1)


class Ends:
    """Cancels and revokes what the replays of one app took."""

    def __init__(self, app: Celery, settings: Settings, storage: ReplayStorage) -> None:
        self._app = app
        self._storage = storage
        self._events = ScheduleEvents(settings)
        self._workers = ToldWorkers(app, settings, storage)

    def cancel(self, walk: Walk) -> Undone:
        cancelled = sum(self._cancel_unsent(page) for page in walk)
        return Undone(cancelled, before=walk.before)

    def undo(self, walk: Walk) -> Undone:
        """Raises the errors of the broker."""
        undone, told = Undone(0), list[Replayed]()
        cancelled, silent = 0, list[str]()
        workers = self._workers.names()
        for page in walk:
            cancelled += self._cancel_unsent(page)
            waiting = self._waiting(page, undone.ran)
            if not waiting:
                continue
            if workers and not silent:
                silent = self._revoke(waiting, workers)
            else:
                self._revoke(waiting, [])  # those that are not known, and may hear it
            if workers and not silent:
                told += waiting
            else:
                undone.may_run.extend(each.new_id for each in waiting)
        dropped = self._settled(told, undone.ran)
        replay_window.give_up(self._storage, dropped)
        undone.revoked.extend(each.new_id for each in dropped)
        return replace(undone, cancelled=cancelled, silent=silent, before=walk.before)

    def _cancel_unsent(self, page: Sequence[Replayed]) -> int:
        cancelled = replay_window.cancel_some(self._storage, self._events, page)
        for schedule in cancelled:
            store_revoked(self._app, schedule, "revoked")
        return len(cancelled)

    def _waiting(self, some: Sequence[Replayed], ran: list[str]) -> list[Replayed]:
        """Those that are sent, or may be, and have not begun; *ran* gets those that have."""
        records = self._records(some)
        ran += [each.new_id for each in some if _began(records.get(each.new_id))]
        return [each for each in some if _waits(records.get(each.new_id))]

    def _settled(self, told: Sequence[Replayed], ran: list[str]) -> list[Replayed]:
        """Those of *told* that have not begun since; *ran* gets the others.

        A worker may have begun one just before it was told, and its storage know that later.
        """
        dropped: list[Replayed] = []
        left, until = [*told], time.monotonic() + SETTLES
        while left:
            waiting: list[Replayed] = []
            for begin in range(0, len(left), _AT_ONCE):
                waiting += self._waiting(left[begin : begin + _AT_ONCE], ran)
            known = {each.new_id for each in waiting}.union(ran)
            dropped += [each for each in left if each.new_id not in known]
            left = waiting
            if not left or time.monotonic() > until:
                break
            time.sleep(_EVERY)
        return [*dropped, *left]

    def _records(self, some: Sequence[Replayed]) -> dict[str, TaskRecord]:
        ids = [each.new_id for each in some]
        found = self._storage.find(TaskQuery(task_ids=ids, limit=None))
        return {record.task_id: record for record in found}

    def _revoke(self, waiting: Sequence[Replayed], workers: list[str]) -> list[str]:
        """Those of *workers* that did not confirm to drop what is *waiting*."""
        try:
            return self._workers.revoke([each.new_id for each in waiting], workers)[0]
        except BrokerError as error:
            raise (error.__cause__ or error) from None


def _waits(record: TaskRecord | None) -> bool:
    return record is not None and record.start is None and record.state in _NOT_BEGUN


def _began(record: TaskRecord | None) -> bool:
    if record is None or _waits(record):
        return False
    return record.start is not None or record.state not in _NEVER_RAN
