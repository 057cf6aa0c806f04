"""Queues that are paused, and real workers: those that live, and those that start later."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from fullresult.insight.pauses import PauseSeen
from fullresult.insight.queues import QueueSeen
from tests.kit import workers
from tests.kit.commands import run
from tests.kit.workers import Pool, Scene, Worker

MakeScene = Callable[..., AbstractContextManager[Scene]]
POOLS = [
    pytest.param("prefork"),
    *(pytest.param(pool, marks=pytest.mark.campaign) for pool in ("solo", "threads", "gevent")),
]
BROKERS = ["redis_url", pytest.param("rabbitmq_url", marks=pytest.mark.campaign)]


@pytest.fixture
def make_scene(request: pytest.FixtureRequest, storage_url: str, tmp_path: Path) -> MakeScene:
    """What makes an app whose workers ask the storage every second."""

    def make(broker: str = "redis_url", **settings: Any) -> AbstractContextManager[Scene]:
        known = {"fullresult_heartbeat": 1, "fullresult_storage_timeout": 2, **settings}
        return workers.scene(request.getfixturevalue(broker), storage_url, tmp_path, **known)

    return make


def media(scene: Scene) -> QueueSeen:
    found = scene.full.queues(offline=True).queues
    return next(each for each in found if each.name == "media")


def paused(scene: Scene) -> PauseSeen:
    pause = media(scene).paused
    assert pause is not None
    return pause


def assert_stopped(scene: Scene, *names: str) -> None:
    """These workers do not consume it for the pause, as their cards say, and no others do."""

    def is_so() -> bool:
        pause = paused(scene)
        return (pause.stopped, pause.consuming) == (names, ())

    assert workers.until(is_so), f"{paused(scene)}\n{scene.logs()}"


def assert_consumed(scene: Scene, *names: str) -> None:
    assert workers.until(lambda: media(scene).workers == names), f"{media(scene)}\n{scene.logs()}"
    assert media(scene).paused is None


def of_media(scene: Scene, name: str, pool: Pool) -> AbstractContextManager[Worker]:
    return scene.worker("-Q", "celery,media", f"--hostname={name}@test", pool=pool)


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("broker", BROKERS)
def test_a_pause_holds_for_those_that_live_and_those_that_start_later(
    make_scene: MakeScene, broker: str, pool: Pool
) -> None:
    """Tasks of other queues run meanwhile, and none is lost."""
    with ExitStack() as stack:
        scene = stack.enter_context(make_scene(broker))
        stack.enter_context(of_media(scene, "w1", pool))
        scene.final(scene.send("add", 1, 1, queue="media"), "SUCCESS")

        told = scene.full.pause_queue("media", reason="disk full", actor="ann")
        assert_stopped(scene, "w1@test")
        waiting = [scene.send("add", 1, number, queue="media") for number in range(3)]
        stack.enter_context(of_media(scene, "w2", pool))
        assert_stopped(scene, "w1@test", "w2@test")
        scene.final(scene.send("add", 2, 2), "SUCCESS")
        states = {record.state for record in map(scene.full.get, waiting) if record}
        shown = paused(scene)
        resumed = run(scene.app, "queues", "resume", "media")

        assert (told.strangers, told.problem) == ((), None)
        assert states == {"PENDING"}
        assert shown.holds
        assert shown.sentence.startswith("media is paused by ann since ")
        assert shown.sentence.endswith(" (disk full); 2 workers have stopped.")
        assert (resumed.exit_code, resumed.stdout) == (0, "media is not paused any more.\n")
        for task_id in waiting:
            scene.final(task_id, "SUCCESS")
        assert_consumed(scene, "w1@test", "w2@test")
