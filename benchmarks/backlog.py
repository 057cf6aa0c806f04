"""A backlog in a full store: tasks that wait, names made at run time, and a worker that is gone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from benchmarks import writing
from benchmarks.questions import LISTING, OVERVIEW, OverviewQuestion, Question
from fullresult.insight.counts import MOST, count_states
from fullresult.insight.orphans import Orphans
from fullresult.record import PENDING, STARTED, TaskRecord
from fullresult.record.stamps import Attempt, Clock
from fullresult.record.worker import Worker
from fullresult.storage import StatisticsStorage, TaskQuery, WorkerStorage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.filling import Filled
    from fullresult.storage import Storage

NAMES = 100_000
ORPHANS = 5_000.0
"""Milliseconds for which orphans are looked for among all that is open."""
WITHIN = 1_000.0
"""The same for a glob that begins with a wildcard: of every name it is asked if it fits."""
_LOST = 50
_BATCH = 500
_WORKER = "0123456789abcdef"


@dataclass(frozen=True)
class StatesQuestion(Question):
    """The number of tasks in each state."""

    def ask(self, storage: Storage) -> int:
        assert isinstance(storage, StatisticsStorage)
        return sum(count_states(storage, self.query, MOST).by_state.values())


@dataclass(frozen=True)
class OrphansQuestion(Question):
    """The tasks that ran on a worker that is gone."""

    def ask(self, storage: Storage) -> int:
        return sum(1 for _ in Orphans(storage).find(self.query))


def fill(storage: Storage, number: int) -> None:
    """Add *number* tasks that wait, and a few that a lost worker ran, the newest of all."""
    assert isinstance(storage, WorkerStorage)
    long_ago = storage.now() - timedelta(hours=1)
    storage.note_worker(Worker(_WORKER, "lost@host", long_ago, long_ago, long_ago))
    clock, events = Clock(), list[TaskRecord]()
    every = max(number // _LOST, 1)
    for index in range(number):
        events.append(_waiting(index, clock))
        if index % every == 0:
            events[-1] = _lost(events[-1], clock)
        if len(events) == _BATCH or index == number - 1:
            storage.write(sorted(events, key=lambda event: event.task_id))
            events = []


def _waiting(index: int, clock: Clock) -> TaskRecord:
    known = writing.published(f"waiting-{index:09}", index, clock.moment())
    assert known.message is not None
    name = f"made.at_run_time.{index % NAMES}"
    return replace(known, message=known.message._replace(name=name))


def _lost(known: TaskRecord, clock: Clock) -> TaskRecord:
    assert known.outcome is not None
    now = clock.moment().of_worker(_WORKER, None)
    stamp = Attempt().stamp(STARTED, now)
    outcome = known.outcome._replace(stamp=stamp, state=STARTED, date_started=now.at)
    return replace(known, outcome=outcome)


def questions(filled: Filled) -> Iterator[Question]:
    """What is asked with the backlog, and what was promised without one."""
    yield StatesQuestion("backlog: states", TaskQuery(), OVERVIEW)
    hour = filled.end - timedelta(hours=1)
    overview = TaskQuery(since=hour, until=filled.end)
    yield OverviewQuestion("backlog: overview of an hour", overview, OVERVIEW)
    yield OrphansQuestion("backlog: orphans", TaskQuery(), ORPHANS)
    yield Question("backlog: newest page", TaskQuery(), LISTING)
    yield Question("backlog: state PENDING", TaskQuery(state=PENDING), LISTING)
    yield Question("backlog: rare glob", TaskQuery(name="nightly.*"), LISTING)
    yield Question("backlog: unknown glob", TaskQuery(name="nothing.*"), LISTING)
    yield Question("backlog: common glob", TaskQuery(name="made.*"), LISTING)
    yield Question("backlog: glob within", TaskQuery(name="*.close_*"), WITHIN)
    yield Question("backlog: state STARTED, without a promise", TaskQuery(state=STARTED))
