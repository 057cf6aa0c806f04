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
from tests.kit.proxy import Delay, Proxy
from tests.kit.scheduling import through_proxy
from tests.kit.workers import Pool, Scene, Worker

HANGS = 60.0
"""Seconds that a storage does not answer: longer than anybody waits for it."""
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
    """It is not paused, and these workers consume it."""

    def is_so() -> bool:
        found = [each for each in scene.full.queues(offline=True).queues if each.name == "media"]
        return [(each.workers, each.paused) for each in found] == [(names, None)]

    assert workers.until(is_so), scene.logs()


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


@pytest.mark.campaign
@pytest.mark.parametrize("pool", ["prefork", "threads"])
@pytest.mark.parametrize("storage_kind", ["postgresql", "mongodb"], indirect=True)
def test_a_worker_whose_storage_is_away_goes_on_with_what_it_knew(
    make_scene: MakeScene, storage_url: str, pool: Pool
) -> None:
    """One that starts meanwhile consumes all, and follows as soon as the storage answers."""
    with through_proxy(storage_url) as (between, url), make_scene() as scene:
        own = {"fullresult_storage": url}
        options = ("-Q", "celery,media")
        with scene.worker(*options, "--hostname=w1@test", settings=own, pool=pool) as first:
            scene.full.pause_queue("media", actor="ann")
            assert_stopped(scene, "w1@test")
            between.plan = lambda _: Delay(HANGS)
            with scene.worker(*options, "--hostname=w2@test", settings=own, pool=pool) as second:
                second.wait_for_log("the storage does not say which queues are paused")
                took = scene.send("add", 1, 1, queue="media")
                second.wait_for_log(f"[{took}] received")
                assert f"[{took}] received" not in first.read_log()
                between.heal()

                assert_stopped(scene, "w1@test", "w2@test")
                scene.full.resume_queue("media")
                assert_consumed(scene, "w1@test", "w2@test")


@pytest.mark.campaign
@pytest.mark.parametrize("broker", ["redis_url", "rabbitmq_url"])
def test_what_was_cancelled_by_hand_stays_so(make_scene: MakeScene, broker: str) -> None:
    with make_scene(broker) as scene, of_media(scene, "w1", "prefork"):
        assert_consumed(scene, "w1@test")
        with of_media(scene, "w2", "prefork"):
            assert_consumed(scene, "w1@test", "w2@test")
            scene.app.control.cancel_consumer("media", destination=["w2@test"])
            assert_consumed(scene, "w1@test")

            scene.full.pause_queue("media")
            assert_stopped(scene, "w1@test")
            scene.full.resume_queue("media")

            assert_consumed(scene, "w1@test")


def break_off(between: Proxy, worker: Worker, times: int) -> None:
    """Cut its connections, and wait until it has connected that often."""
    between.cut_all()
    # Before, Redis may hand a message to the connection that is gone.
    assert workers.until(lambda: worker.read_log().count("] Connected to ") >= times)


@pytest.mark.campaign
@pytest.mark.parametrize("broker", ["redis_url", "rabbitmq_url"])
def test_a_pause_outlives_a_broken_connection_to_the_broker(
    make_scene: MakeScene, request: pytest.FixtureRequest, broker: str
) -> None:
    """So does the end of one, which Celery 5.4 would forget."""
    with (
        through_proxy(request.getfixturevalue(broker)) as (between, url),
        make_scene(broker) as scene,
    ):
        own = {"broker_url": url, "fullresult_namespace": scene.full.settings.namespace}
        with scene.worker("-Q", "celery,media", settings=own) as worker:
            scene.full.pause_queue("media")
            assert_stopped(scene, "w1@test")
            break_off(between, worker, 2)
            waits = scene.send("add", 1, 1, queue="media")
            scene.final(scene.send("add", 2, 2), "SUCCESS")
            record = scene.full.get(waits)
            assert record is not None
            assert record.state == "PENDING"

            scene.full.resume_queue("media")
            scene.final(waits, "SUCCESS")
            break_off(between, worker, 3)
            scene.final(scene.send("add", 3, 3, queue="media"), "SUCCESS")
