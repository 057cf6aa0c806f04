"""The governor of replays: a chore of the sweeper that takes the next tasks, and watches the ends.

It keeps nothing between two steps but what the storage has: any sweeper may do the next one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from math import ceil
from typing import Any, NamedTuple

from fullresult.config import Settings
from fullresult.record import FAILURE, REJECTED, TaskRecord
from fullresult.record.replay import (
    ACTIVE,
    CANARY,
    CANCELLED,
    DONE,
    HELD,
    OF_CANARY,
    PAUSED,
    RUNNING,
    STOPPED,
    UNDONE,
    Replay,
    Taking,
)
from fullresult.scheduling import replay_window
from fullresult.scheduling.replay_window import AHEAD, MOST
from fullresult.scheduling.schedule_events import ScheduleEvents
from fullresult.storage import ResultStorage, StorageError
from fullresult.storage.replays import NOT_YET, ReplayStorage

logger = logging.getLogger(__name__)

_EVERY = 0.5
_LONGEST_PAUSE = 60.0
"""Seconds after which a storage that failed here is asked again, at most; at first, one."""
_WATCHED = 1_000
"""The last tasks that the ratio of failures is of."""
_PAGE = 100
TAKEN = "taken by another replay"

Prepare = Callable[[Replay, TaskRecord, datetime, int], Taking]
"""Makes the taking of a task, due at a time and at a position. Raises `LeftOut`."""
Note = Callable[[Replay, Mapping[str, Any]], object]
"""Writes to the audit log that a replay is in another state."""


class LeftOut(Exception):
    """A task that the filter matches is not sent; the text says why, the same for all like it."""


class Ends(NamedTuple):
    """How the tasks that a replay took last have ended."""

    taken: int
    ended: int
    failed: int

    def fail(self, ratio: float) -> bool:
        return self.failed > ratio * self.ended

    def __str__(self) -> str:
        return f"{self.failed:,} of {self.ended:,} failed"


class Governor:
    """Moves the replays of one namespace on."""

    def __init__(
        self, settings: Settings, storage: ReplayStorage, prepare: Prepare, note: Note
    ) -> None:
        self._namespace = settings.namespace
        self._storage = storage
        self._events = ScheduleEvents(settings)
        self._prepare = prepare
        self._note = note
        self._next = 0.0
        self._pause = 1.0

    def step(self) -> None:
        """Move each replay on that is due for it. Raises nothing: other tasks are to be sent."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _EVERY
        try:
            for replay in self._storage.find_replays(namespace=self._namespace, states=ACTIVE):
                self._go_on(replay)
            self._pause = 1.0
        except StorageError as error:
            logger.error("fullresult: replays wait: %s", error)  # noqa: TRY400
            self._wait()
        except Exception:
            logger.exception("fullresult: replays wait")
            self._wait()

    def _wait(self) -> None:
        self._next = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    def _go_on(self, replay: Replay) -> None:
        try:
            self.govern(replay)
        except StorageError:
            raise
        except Exception as error:
            logger.exception("fullresult: replay %s is paused", replay.replay_id)
            self._move(replay, PAUSED, f"the governor failed: {type(error).__name__}: {error}")

    def govern(self, replay: Replay) -> None:
        """One step of one replay."""
        self._storage.finish_taking(replay.replay_id)
        if replay.state == CANARY and (replay.taken >= replay.canary or replay.exhausted):
            self._look_at_canary(replay)
        elif replay.ratio is not None and (ends := self.ends(replay)).ended >= replay.minimum:
            if ends.fail(replay.ratio):
                self._stop(replay, str(ends))
            else:
                self._advance(replay)
        else:
            self._advance(replay)

    def ends(self, replay: Replay) -> Ends:
        """The ends of what it took last, since it was begun or resumed."""
        last = self._storage.find_replayed(replay.replay_id, limit=_WATCHED)
        ids = [each.new_id for each in last if each.position >= replay.watched_from]
        assert isinstance(self._storage, ResultStorage)
        ended = self._storage.get_ended(ids, messages=False) if ids else []
        failed = sum(record.state in (FAILURE, REJECTED) for record in ended)
        return Ends(len(ids), len(ended), failed)

    def _look_at_canary(self, replay: Replay) -> None:
        ends = self.ends(replay)
        if ends.failed > (replay.ratio or 0) * ends.taken:  # however the others end
            self._stop(replay, f"{OF_CANARY}{ends}")
        elif ends.ended >= ends.taken:
            self._move(replay, RUNNING, f"{OF_CANARY}{ends}")
        elif replay.canary_since is not None:
            waited = self._storage.now() - replay.canary_since
            if waited > timedelta(seconds=replay.canary_wait):
                left = ends.taken - ends.ended
                self._move(replay, PAUSED, f"{OF_CANARY}{left:,} of {ends.taken:,} have not ended")

    def _stop(self, replay: Replay, why: str) -> None:
        if self._move(replay, STOPPED, why):
            logger.error("fullresult: replay %s is stopped: %s", replay.replay_id, why)
            replay_window.hold(self._storage, self._events, replay)

    def _move(self, replay: Replay, state: str, why: str) -> bool:
        moved = replace(replay, state=state, reason=why, version=replay.version + 1)
        if not self._storage.keep_replay(moved, instead_of=replay.version):
            return False
        self._note(moved, {"reason": why})
        return True

    # ---- taking the next tasks

    def _advance(self, replay: Replay) -> None:
        if replay.exhausted:
            self._finish(replay)
            return
        now = self._storage.now()
        until = now + AHEAD
        due = max(replay.next_due or now, now)
        if due > until or replay_window.is_late(self._storage, replay):
            return
        size = max(_PAGE, min(MOST, ceil(replay.rate * AHEAD.total_seconds())))
        page = self._storage.find(replace(replay.tasks, limit=size))
        after, takings = self._chosen(replay, page, due, until)
        looked_at_all = not page or after.cursor == page[-1].cursor
        after = replace(after, exhausted=looked_at_all and len(page) < size)
        if after.state == CANARY and (after.taken >= after.canary or after.exhausted):
            after = replace(after, canary_since=now)
        took = self._storage.take_for_replay(after, takings, instead_of=replay.version)
        if took is None:
            self._settle(replay.replay_id)
        elif len(took) < len(takings):
            left_out = _more(after.left_out, TAKEN, len(takings) - len(took))
            more = replace(after, left_out=left_out, version=after.version + 1)
            self._storage.keep_replay(more, instead_of=after.version)

    def _finish(self, replay: Replay) -> None:
        if not self._storage.finish_taking(replay.replay_id):
            return
        strays = replay_window.strays_of(self._storage, replay)
        if not strays and not replay_window.waits(self._storage, replay):
            self._move(replay, DONE, "all that match are sent")
        elif strays or replay_window.holds(self._storage, replay):
            # By somebody who stood still between a pause and a resume of others, or died between
            # a task and the replay, and the filter does not find the task again.
            replay_window.let_go(self._storage, self._events, replay, strays)
            self._settle(replay.replay_id)

    def _settle(self, replay_id: str) -> None:
        """Have what was taken, but not with the replay, as on MongoDB, follow what it is now.

        That is what somebody keeps who stood still meanwhile: the replay is another version.
        """
        for now in self._storage.find_replays(replay_ids=[replay_id]):
            if now.state in HELD:
                replay_window.hold(self._storage, self._events, now)
            elif now.state in (CANCELLED, UNDONE):
                replay_window.cancel(self._storage, self._events, now)
            elif now.state == DONE:
                replay_window.cancel(self._storage, self._events, now, NOT_YET)

    def _chosen(
        self, replay: Replay, page: Sequence[TaskRecord], due: datetime, until: datetime
    ) -> tuple[Replay, list[Taking]]:
        """The tasks of *page* that are taken now, and the replay after that."""
        takings: list[Taking] = []
        cursor, left_out = replay.cursor, replay.left_out
        step = timedelta(seconds=1 / replay.rate)
        most = replay.canary - replay.taken if replay.state == CANARY else MOST
        for record in page:
            if due > until or len(takings) >= most:
                break
            cursor = record.cursor
            try:
                position = replay.taken + len(takings)
                takings.append(self._prepare(replay, record, due, position))
            except LeftOut as why:
                left_out = _more(left_out, str(why), 1)
            else:
                due += step
        after = replace(
            replay,
            version=replay.version + 1,
            cursor=cursor,
            left_out=left_out,
            taken=replay.taken + len(takings),
            next_due=due,
        )
        return after, takings


def _more(counts: Mapping[str, int], name: str, number: int) -> dict[str, int]:
    return {**counts, name: counts.get(name, 0) + number}
