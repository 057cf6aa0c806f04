"""Replays whose tasks a real worker runs: what `undo` says of each is so."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from fullresult.actions import told_workers
from fullresult.record import FAILURE, REVOKED
from fullresult.record.replay import ACTIVE
from tests.kit import workers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fullresult.record.replay import Replay


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker may need longer than people wait, where the machine has other work."""
    monkeypatch.setattr(told_workers, "WAIT", 20.0)


def failed(running: workers.Scene, number: int) -> list[str]:
    ids = [running.send("fail", "no") for _ in range(number)]
    for task_id in ids:
        running.eventually(task_id, workers.has_state(FAILURE))
    return ids


def begun(running: workers.Scene, rate: float) -> Replay:
    return running.full.replays.create(state=FAILURE, name="scenario.fail", rate=rate)


def swept(running: workers.Scene, until: Callable[[], bool]) -> None:
    sweeper, end = running.full.parts.new_sweeper(), time.monotonic() + workers.PATIENCE
    while not until():
        assert time.monotonic() < end
        sweeper.sweep()
        time.sleep(0.01)
    sweeper.close()


def over(running: workers.Scene, replay: Replay) -> Callable[[], bool]:
    return lambda: running.full.replays.get(replay.replay_id).state not in ACTIVE


def left(running: workers.Scene) -> set[str]:
    found = running.full.find(state=FAILURE, name="scenario.fail", unresolved=True, limit=None)
    return {record.task_id for record in found}


def test_what_waits_behind_another_is_revoked_and_never_runs(
    running: workers.Scene, tmp_path: Path
) -> None:
    old = failed(running, 3)
    go = tmp_path / "go"
    running.eventually(running.send("wait_for", str(go)), workers.is_started)
    replay = begun(running, 1_000.0)
    swept(running, over(running, replay))
    new = {replay.new_id(task_id) for task_id in old}

    undone = running.full.replays.undo(replay.replay_id)
    go.touch()

    assert (set(undone.revoked), undone.ran, undone.may_run) == (new, [], [])
    for task_id in new:
        assert running.final(task_id, REVOKED).start is None
    assert left(running) == set(old)
    running.full.replays.undo(again(running).replay_id)


def again(running: workers.Scene) -> Replay:
    """One of what is left, all of which fails again: those are to be dealt with then."""
    before = left(running)
    replay = begun(running, 1_000.0)
    swept(running, over(running, replay))
    new = {replay.new_id(task_id) for task_id in before}
    for task_id in new:
        running.eventually(task_id, workers.has_state(FAILURE))
    assert running.full.replays.progress(replay.replay_id).ended == {FAILURE: len(before)}
    assert left(running) == new
    return replay


def test_what_runs_while_a_replay_is_undone_ran_and_the_rest_did_not(
    running: workers.Scene,
) -> None:
    """Each is in one of the lists; what ran stays dealt with, or would be sent twice."""
    for failure in left(running):
        running.full.resend(failure)
    ids = failed(running, 30)
    mine = left(running)
    replay = begun(running, 60.0)
    swept(running, lambda: running.full.replays.progress(replay.replay_id).ended != {})

    undone = running.full.replays.undo(replay.replay_id)

    assert (undone.may_run, undone.silent) == ([], [])
    assert set(undone.ran).isdisjoint(undone.revoked)
    running.settle()
    new = {replay.new_id(task_id): task_id for task_id in mine}
    ended = {task_id: running.full.get(task_id) for task_id in new}
    ran = {each for each, record in ended.items() if record and record.start is not None}
    assert ran == set(undone.ran)
    assert set(ids) <= mine
    assert left(running) == (mine - {new[each] for each in ran}) | ran
