"""The campaign against replays: each task is sent once or not, whatever is killed meanwhile.

    python -m tests.campaigns.replays --records 10000 --kills 200 --storage postgresql

Sweepers, one of which governs, are killed at random moments; the broker, the network and the
storage fail; the replay is paused and resumed by another process. Then every message on the broker
is counted: each record has one re-send, or none, and then it says why.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from fullresult.actions.replays import WrongReplay
from fullresult.record.replay import ACTIVE, REPLAY_OVER, Replay
from fullresult.scheduling.replay_window import pages_of
from fullresult.storage import StorageError
from fullresult.storage.replays import with_replays
from fullresult.testing import samples
from tests.campaigns import at_most_once
from tests.kit import sweeping
from tests.kit.workers import STORAGES, until

if TYPE_CHECKING:
    from fullresult import FullResult
    from fullresult.record import TaskRecord

_PORTION = 200
_PATIENCE = 120.0


class Told(NamedTuple):
    """What came of a campaign."""

    sent: int
    unknown: int
    """Claimed by a sweeper that was killed: perhaps sent."""
    troubles: Counter[str]


def fill(full: FullResult, number: int, choice: random.Random) -> list[str]:
    """*number* tasks that failed; their ids."""
    base = full.get(full.app.send_task(sweeping.TASK, args=[1], kwargs={"card": "x"}).id)
    assert base is not None
    assert base.message is not None
    ids = [str(UUID(int=choice.getrandbits(128), version=4)) for _ in range(number)]
    events = []
    for task_id in ids:
        headers = json.dumps({**base.headers, "id": task_id, "root_id": task_id})
        message = base.message._replace(headers=headers, root_id=task_id)
        outcome = samples.outcome("FAILURE", base.date_created)
        events.append(replace(base, task_id=task_id, message=message, outcome=outcome))
    for begin in range(0, number, _PORTION):
        _write(full, events[begin : begin + _PORTION])
    return ids


def _write(full: FullResult, events: list[TaskRecord]) -> None:
    """Again and again: on a busy machine a portion may take longer than a call may."""

    def is_written() -> bool:
        with contextlib.suppress(StorageError):
            full.storage.write(events)
            return True
        return False

    assert until(is_written, _PATIENCE)


def run(
    storage: str, *, records: int, kills: int, rate: float, seed: int, sweepers: int = 3
) -> Told:
    """One replay of *records* tasks, during which *kills* sweepers are killed."""
    choice, troubles = random.Random(seed), Counter[str]()
    with at_most_once.campaign(storage, "redis") as made:
        ids = fill(made.full, records, choice)
        made.take()
        replay = made.full.replays.create(state="FAILURE", rate=rate)
        with sweeping.crowd(made.settings) as crowd:
            crowd.spawn(sweepers)
            for _ in range(kills):
                time.sleep(choice.uniform(0, 2 * records / rate / kills))
                trouble = choice.choice(("none", "none", "none", "broker", "storage", "pause"))
                troubles[trouble] += 1
                _make(made, trouble, replay, choice)
                crowd.kill_one(choice)
                crowd.spawn(1)
            made.between.heal()
            made.storage.heal()
            patience = max(_PATIENCE, 3 * records / rate)
            assert until(lambda: _is_over(made.full, replay), patience), _state(made, replay)
            crowd.stop()
        until(lambda: not made.full.count_scheduled(claimed=False), 30)
        return _check(made, replay, ids, troubles)


def _make(made: at_most_once.Campaign, trouble: str, replay: Replay, choice: random.Random) -> None:
    if trouble == "broker":
        made.break_broker(choice)
    elif trouble == "storage":
        made.storage.break_it(choice)
        made.storage.heal()
    elif trouble == "pause":
        with contextlib.suppress(WrongReplay, StorageError):
            made.full.replays.pause(replay.replay_id)
            time.sleep(choice.uniform(0, 0.3))
        _resume(made.full, replay)


def _resume(full: FullResult, replay: Replay) -> None:
    """Until it is not paused: the storage may be away for a moment."""

    def resumed() -> bool:
        with contextlib.suppress(StorageError, WrongReplay):
            state = full.replays.get(replay.replay_id).state
            if state in ACTIVE or state in REPLAY_OVER:
                return True
            full.replays.resume(replay.replay_id)
        return False

    assert until(resumed, 30)


def _is_over(full: FullResult, replay: Replay) -> bool:
    with contextlib.suppress(StorageError):
        return full.replays.get(replay.replay_id).state in REPLAY_OVER
    time.sleep(0.5)
    return False


def _state(made: at_most_once.Campaign, replay: Replay) -> str:
    replays = made.full.replays
    return f"{replays.get(replay.replay_id)} {replays.progress(replay.replay_id)}"


def _check(
    made: at_most_once.Campaign, replay: Replay, ids: list[str], troubles: Counter[str]
) -> Told:
    found, arrived = made.full.replays.get(replay.replay_id), Counter(made.take())
    expected = {replay.new_id(task_id) for task_id in ids}
    assert not {task_id: n for task_id, n in arrived.items() if n > 1}, "sent more than once"
    assert set(arrived) <= expected, "something else was sent"
    unknown = {each.task_id for each in made.full.scheduled(claimed=True, limit=None)}
    missing = expected - set(arrived)
    assert found.state == "DONE", found
    assert not found.left_out, found
    assert missing <= unknown, f"{len(missing - unknown)} were not sent, and nothing says why"
    # On MongoDB, what was taken by one that died within a page is not found again, nor counted.
    pages = pages_of(with_replays(made.full.storage), replay.replay_id)
    taken = [each.task_id for page in pages for each in page]
    assert sorted(taken) == sorted(ids), found
    return Told(len(arrived), len(unknown), troubles)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--storage", choices=STORAGES, default="sqlite")
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--rate", type=float, default=100.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    given = parser.parse_args(arguments)
    sys.stdout.write(f"seed {given.seed}\n")
    began = time.monotonic()
    told = run(
        given.storage,
        records=given.records,
        kills=given.kills,
        rate=given.rate,
        seed=given.seed,
    )
    sys.stdout.write(f"{told}, {time.monotonic() - began:.0f} s\n")


if __name__ == "__main__":
    main()
