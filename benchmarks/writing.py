"""What the secondary indexes cost a write: the same writes with and without them, in turns."""

from __future__ import annotations

import json
import time
import uuid
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.filling import name_of
from fullresult.record import PENDING, STARTED, SUCCESS, Message, Outcome, Start, TaskRecord
from fullresult.record.merging import fold
from fullresult.record.stamps import Attempt, Clock
from fullresult.record.states import is_open

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fullresult.record.stamps import Moment
    from fullresult.storage import Storage

BATCH = 100
"""Records in one batched write."""
_BACKLOG = 50
"""Tasks published and not begun."""
_ATTEMPT = Attempt()


@dataclass(frozen=True)
class Cost:
    """Milliseconds a task takes in each round."""

    bare: list[float]
    indexed: list[float]

    @property
    def added(self) -> float:
        """The median share that the indexes add."""
        return median(b / a for a, b in zip(self.bare, self.indexed, strict=True)) - 1

    def __str__(self) -> str:
        return (
            f"{median(self.bare):.3f} ms a task without, {median(self.indexed):.3f} with the "
            f"indexes: {self.added:+.0%}"
        )


def direct(bare: Storage, indexed: Storage, *, rounds: int, tasks: int) -> Cost:
    """One write per event: a task is published, started and finished, behind a small backlog."""
    lives = [direct_life(storage) for storage in (bare, indexed)]
    return _in_turns(lives, rounds, tasks)


def batched(bare: Storage, indexed: Storage, *, rounds: int, tasks: int) -> Cost:
    """Whole tasks, their events folded, `BATCH` in one write."""
    lives = [batched_life(storage) for storage in (bare, indexed)]
    return _in_turns(lives, rounds, tasks)


def _in_turns(lives: Sequence[Iterator[int]], rounds: int, tasks: int) -> Cost:
    taken: list[list[float]] = [[], []]
    for number in range(rounds + 1):
        order = (0, 1) if number % 2 else (1, 0)
        for side in order:
            spent = _time(lives[side], tasks)
            if number:  # The first round prepares statements and fills caches.
                taken[side].append(spent)
    return Cost(*taken)


def _time(life: Iterator[int], tasks: int) -> float:
    done = 0
    start = time.perf_counter()
    while done < tasks:
        done += next(life)
    return (time.perf_counter() - start) * 1000 / done


def direct_life(storage: Storage) -> Iterator[int]:
    """Every step is one task more that is done."""
    clock, waiting = Clock(), deque[str]()
    for number in count():
        task_id = str(uuid.uuid4())
        storage.write([published(task_id, number, clock.moment())])
        waiting.append(task_id)
        if len(waiting) > _BACKLOG:
            storage.write([_started(waiting[0], clock.moment())])
            storage.write([_succeeded(waiting.popleft(), clock.moment())])
            yield 1


def batched_life(storage: Storage) -> Iterator[int]:
    clock, numbers = Clock(), count()
    while True:
        events = []
        for _ in range(BATCH):
            task_id = str(uuid.uuid4())
            events += [
                published(task_id, next(numbers), clock.moment()),
                _started(task_id, clock.moment()),
                _succeeded(task_id, clock.moment()),
            ]
        storage.write(fold(events))
        yield BATCH


def published(task_id: str, number: int, now: Moment) -> TaskRecord:
    return TaskRecord(
        task_id,
        now.at,
        now.at,
        now.at,
        outcome=_outcome(PENDING, now),
        message=_message(task_id, number, now),
    )


def _started(task_id: str, now: Moment) -> TaskRecord:
    outcome = _outcome(STARTED, now)._replace(worker="celery@host", date_started=now.at)
    start = Start(outcome.stamp, outcome.worker, now.at)
    return TaskRecord(task_id, now.at, now.at, outcome=outcome, start=start)


def _succeeded(task_id: str, now: Moment) -> TaskRecord:
    outcome = _outcome(SUCCESS, now)._replace(
        worker="celery@host",
        date_started=now.at - timedelta(milliseconds=250),
        date_done=now.at,
        runtime=0.25,
        result='{"charged": 1000, "currency": "EUR"}',
        result_form="json",
    )
    return TaskRecord(task_id, now.at, now.at, outcome=outcome)


def _outcome(state: str, now: Moment) -> Outcome:
    stamp = _ATTEMPT.stamp(state, now)
    nothing = (None,) * 7
    return Outcome(stamp, state, is_open(state), 0, None, None, None, now.at, None, *nothing)


def _message(task_id: str, number: int, now: Moment) -> Message:
    args = [number, f"item-{number}"]
    kwargs = {
        "order_id": number,
        "customer": f"c-{number % 99_991}",
        "flag": number % 2 == 0,
        "batch": number % 1000,
        "plan": "new",
        "shipping": {"country": "PT", "zip": number * 7 % 99_991},
    }
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    headers = {
        "lang": "py", "task": name_of(number), "id": task_id, "shadow": None, "eta": None,
        "expires": None, "group": None, "group_index": None, "retries": 0,
        "timelimit": [None, None], "root_id": task_id, "parent_id": None, "argsrepr": repr(args),
        "kwargsrepr": repr(kwargs), "origin": "gen3674@host", "ignore_result": False, "stamps": {},
    }  # fmt: skip
    return Message(
        stamp=_ATTEMPT.stamp(PENDING, now),
        name=name_of(number),
        args=json.dumps(args),
        kwargs=json.dumps(kwargs),
        embed=json.dumps(embed),
        body=json.dumps([args, kwargs, embed]).encode(),
        content_type="application/json",
        content_encoding="utf-8",
        headers=json.dumps(headers),
        properties='{"delivery_mode": 2, "reply_to": "d286d091-cf2b-3151-b124-c558f838ee58"}',
        exchange="",
        routing_key="celery",
        queue="celery",
        priority=0,
        eta=None,
        expires=None,
        root_id=task_id,
        parent_id=None,
        group_id=None,
        retry_of=None,
        notes=None,
    )
