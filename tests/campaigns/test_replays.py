"""A sample of the campaign against replays, and pieces of it in a campaign run."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.campaigns import replays
from tests.kit import sweeping, workers

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("storage", workers.storages("sqlite", "postgresql"))
def test_whatever_is_killed_each_task_is_sent_once_or_says_why_not(storage: str) -> None:
    told = replays.run(storage, records=200, kills=4, rate=100.0, seed=7)

    assert told.sent + told.unknown >= 200


@pytest.mark.campaign
@pytest.mark.parametrize("storage", ["sqlite", "postgresql", "mongodb"])
def test_200_kills_over_10_000_tasks(storage: str) -> None:
    told = replays.run(storage, records=10_000, kills=200, rate=50.0, seed=8)

    assert told.sent + told.unknown >= 10_000


def test_a_pause_from_another_process_takes_effect_within_two_seconds(
    tmp_path: Path, redis_url: str
) -> None:
    storage = f"sqlite:///{tmp_path / 'records.db'}"
    settings = {"broker_url": redis_url, "fullresult_storage": storage}
    full = sweeping.make(settings)
    replays.fill(full, 500, random.Random(9))
    before = len(sweeping.redis_ids(redis_url))
    replay = full.replays.create(state="FAILURE", rate=50.0)
    with sweeping.crowd(settings) as crowd:
        crowd.spawn(2)
        assert workers.until(lambda: len(sweeping.redis_ids(redis_url)) > before + 20, 60)

        full.replays.pause(replay.replay_id)

        time.sleep(2)
        sent = len(sweeping.redis_ids(redis_url))
        time.sleep(1.5)
        assert len(sweeping.redis_ids(redis_url)) == sent < before + 500
        crowd.stop()
    full.close()
