"""Explanations of tasks that a replay, or an outbox, has in the storage."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from celery import Celery

from fullresult import FullResult
from fullresult.insight.explain.explanation import Explanation
from fullresult.record.replay import Replay
from fullresult.storage import NOT_YET
from tests.kit import browsing


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    with browsing.shop(f"sqlite:///{tmp_path}/records.db") as app:
        yield app


def taken(app: Celery) -> tuple[Replay, str, str]:
    """A replay that has taken a task, with the old id and the new one."""
    full: FullResult = app.fullresult
    (old_id,) = browsing.failed(app, 1)
    replay = full.replays.create(state="FAILURE", rate=1.0)
    governor = full.parts._governor()
    assert governor is not None
    governor.govern(full.replays.get(replay.replay_id))
    return replay, old_id, replay.new_id(old_id)


def explained(app: Celery, task_id: str) -> Explanation:
    found: Explanation = app.fullresult.explain(task_id, offline=True)
    return found


def test_what_a_paused_replay_holds_is_not_said_to_be_due_in_the_year_9000(app: Celery) -> None:
    replay, old_id, task_id = taken(app)
    paused = app.fullresult.replays.pause(replay.replay_id)

    found = explained(app, task_id)

    assert (found.verdict, found.confidence) == ("held by a replay", "certain")
    assert found.sentence == (
        f"It is held by the replay {replay.replay_id}, which is PAUSED ({paused.reason})."
    )
    assert found.commands == (f"celery -A proj fullresult replay resume {replay.replay_id}",)
    assert [each.source for each in found.evidence] == ["schedule", f"replay {replay.replay_id}"]
    made = found.also[-1].sentence
    assert f"to send {old_id} again, by the replay {replay.replay_id} of {replay.actor}" in made


def test_a_replay_that_cannot_be_found_is_not_named(app: Celery) -> None:
    task_id = app.send_task("shop.pay", [1], countdown=3600).id
    assert app.fullresult.reschedule(task_id, NOT_YET)

    found = explained(app, task_id)

    assert (found.verdict, found.confidence) == ("held by a replay", "likely")
    assert found.commands == ("celery -A proj fullresult replay list",)


def test_what_is_in_an_outbox_is_told_only_when_that_has_committed(
    app: Celery, tmp_path: Path
) -> None:
    full = app.fullresult
    with closing(sqlite3.connect(tmp_path / "records.db")) as connection:
        with full.outbox(connection):
            task_id = app.send_task("shop.pay", [1]).id
            before = explained(app, task_id)
        connection.commit()
    after = explained(app, task_id)

    assert before.verdict == "unknown"
    assert "or put it into an outbox and has not committed" in before.sentence
    assert after.verdict == "no sweeper"
    assert after.sentence.endswith("and no sweeper has ever been at work.")
    assert after.evidence[0].said.endswith(", in an outbox")
    assert after.commands == ("celery -A proj fullresult sweep --loop",)
