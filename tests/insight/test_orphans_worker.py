"""Orphans of real workers: killed, ended, frozen, started anew, cut off from their storage."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import celery
import pytest

from fullresult.record.worker import Worker as Known
from fullresult.storage import WorkerStorage
from tests.kit import workers
from tests.kit.proxy import Delay
from tests.kit.scheduling import through_proxy
from tests.kit.workers import Pool, Scene

CELERY = celery.VERSION[:2]
OFTEN = 2.0
"""Seconds from one heartbeat to the next; after 5 a worker is missed."""
MISSED = timedelta(seconds=2.5 * OFTEN)
HANGS = 8.0
"""Seconds that a storage does not answer: longer than anybody waits for it."""
MakeScene = Callable[..., AbstractContextManager[Scene]]
POOLS = [
    pytest.param("prefork"),
    *(pytest.param(pool, marks=pytest.mark.campaign) for pool in ("solo", "threads", "gevent")),
]


@pytest.fixture
def make_scene(redis_url: str, storage_url: str, tmp_path: Path) -> MakeScene:
    """What makes an app on Valkey, whose workers have a fast heartbeat."""

    def make(**settings: Any) -> AbstractContextManager[Scene]:
        known = {"fullresult_heartbeat": OFTEN, "fullresult_storage_timeout": 2, **settings}
        broker = known.pop("broker", redis_url)
        storage = known.pop("storage", storage_url)
        return workers.scene(broker, storage, tmp_path, **known)

    return make


@pytest.fixture
def scene(make_scene: MakeScene) -> Iterator[Scene]:
    with make_scene() as scene:
        yield scene


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """The file that running tasks wait for."""
    return tmp_path / "gate"


def orphans(scene: Scene) -> list[str]:
    return [record.task_id for record in scene.full.get_orphaned_tasks()]


def known(scene: Scene) -> list[Known]:
    """The workers that told that they live, the last that began first."""
    storage = scene.full.storage
    assert isinstance(storage, WorkerStorage)
    return sorted(storage.find_workers(), key=lambda each: each.date_started, reverse=True)


def start(scene: Scene, name: str, gate: Path, **options: Any) -> str:
    """A task that runs until *gate* opens, on a worker that was heard of."""
    task_id = scene.send(name, str(gate), **options)
    record = scene.eventually(task_id, workers.is_started)

    def is_heard_of() -> bool:
        return any(each.name == record.worker for each in known(scene))

    assert workers.until(is_heard_of), scene.logs()
    return task_id


def assert_orphaned(scene: Scene, *task_ids: str) -> None:
    """These are orphans, and no others, by the time that they have to be."""
    told = workers.until(lambda: sorted(orphans(scene)) == sorted(task_ids))
    assert told, f"{orphans(scene)}\n{known(scene)}\n{scene.logs()}"


def assert_heard_of_long_after(scene: Scene, worker: Known) -> None:
    """Long enough that it would be missed, if that were all; and its tasks never are."""
    enough = worker.date_seen + MISSED + timedelta(seconds=OFTEN)
    assert workers.until(lambda: orphans(scene) or known(scene)[0].date_seen > enough)
    assert orphans(scene) == [], scene.logs()


@pytest.mark.parametrize("pool", POOLS)
def test_the_tasks_of_a_worker_that_was_killed_are_orphans_and_no_others(
    scene: Scene, gate: Path, pool: Pool
) -> None:
    """Killed whole, by SIGKILL. Another of the same name, started anew, has none of them."""
    with scene.worker(pool=pool) as killed:
        lost = start(scene, "wait_for", gate)
        at = scene.full.storage.now()
        killed.kill()
        with scene.worker("--hostname=w1@test", pool=pool):
            running = start(scene, "wait_for", gate)

            assert_orphaned(scene, lost)

            took = scene.full.storage.now() - at
            record = scene.full.get(running)
            again = scene.full.resend(lost)
            gate.touch()
            assert scene.final(again.id, "SUCCESS").result == "done"
    assert took < timedelta(seconds=workers.PATIENCE)
    assert record is not None
    assert (record.state, record.worker) == ("STARTED", "w1@test")
    assert orphans(scene) == []


@pytest.mark.campaign
def test_an_orphan_shows_within_thirty_seconds_if_nothing_is_said(
    make_scene: MakeScene, gate: Path
) -> None:
    with make_scene(fullresult_heartbeat=None) as scene, scene.worker() as worker:
        task_id = start(scene, "wait_for", gate)
        assert orphans(scene) == []
        at = scene.full.storage.now()

        worker.kill()

        assert workers.until(lambda: orphans(scene) == [task_id], timeout=40)
        assert scene.full.storage.now() - at < timedelta(seconds=30)


def test_a_task_whose_process_was_killed_has_failed_and_is_no_orphan(scene: Scene) -> None:
    """Its worker lives, and says so."""
    with scene.worker():
        task_id = scene.send("kill_child")

        record = scene.final(task_id, "FAILURE")

        assert record.exception_type == "billiard.exceptions.WorkerLostError"
        assert orphans(scene) == []


@pytest.mark.slow
def test_a_worker_that_ends_lives_until_its_last_task_has_ended(scene: Scene, gate: Path) -> None:
    """Celery's own heartbeats are over long before."""
    with scene.worker() as worker:
        task_id = start(scene, "wait_for", gate)
        worker.signal(signal.SIGTERM)
        worker.wait_for_log("Warm shutdown")
        ending = known(scene)[0]

        assert_heard_of_long_after(scene, ending)
        gate.touch()
        worker.process.wait(workers.PATIENCE)

    (ended,) = known(scene)
    assert ended.date_stopped is not None
    assert ended.worker_id == ending.worker_id
    assert scene.eventually(task_id, workers.is_finished, timeout=0).state == "SUCCESS"


@pytest.mark.campaign
@pytest.mark.skipif(CELERY < (5, 5), reason="before, it told that the tasks were lost")
def test_the_tasks_of_a_cold_shutdown_are_orphans(scene: Scene, gate: Path) -> None:
    with scene.worker() as worker:
        task_id = start(scene, "wait_for", gate)

        worker.signal(signal.SIGQUIT)
        worker.process.wait(workers.PATIENCE)

    assert_orphaned(scene, task_id)


@pytest.mark.slow
def test_the_tasks_of_a_frozen_worker_are_orphans_until_it_goes_on(
    scene: Scene, gate: Path
) -> None:
    with scene.worker() as worker:
        task_id = start(scene, "wait_for", gate)
        os.killpg(worker.pid, signal.SIGSTOP)
        try:
            assert_orphaned(scene, task_id)
        finally:
            os.killpg(worker.pid, signal.SIGCONT)

        assert_orphaned(scene)
        gate.touch()
        record = scene.final(task_id, "SUCCESS")

    assert workers.runs(record) == [(0, "SUCCESS", None)]


@pytest.mark.campaign
def test_a_task_that_the_broker_delivers_again_is_an_orphan_no_longer(
    make_scene: MakeScene, rabbitmq_url: str, gate: Path
) -> None:
    with make_scene(broker=rabbitmq_url) as scene:
        with scene.worker() as worker:
            task_id = start(scene, "wait_for_late", gate)
            worker.kill()
            assert_orphaned(scene, task_id)

        with scene.worker():
            scene.eventually(task_id, lambda record: record.worker == "w2@test")

            assert_orphaned(scene)
            gate.touch()
            scene.final(task_id, "SUCCESS")


@pytest.mark.campaign
def test_a_worker_without_a_heartbeat_has_no_orphans(scene: Scene, gate: Path) -> None:
    """Nor has one of an older version, which tells nothing either: nobody knows."""
    with scene.worker(settings={"fullresult_heartbeat": 0}) as silent:
        task_id = scene.send("wait_for", str(gate))
        scene.eventually(task_id, workers.is_started)
        silent.kill()
    with scene.worker() as worker:
        other = start(scene, "wait_for", gate)
        worker.kill()

    assert_orphaned(scene, other)


@pytest.mark.slow
@pytest.mark.parametrize("storage_kind", workers.storages("postgresql"), indirect=True)
@pytest.mark.parametrize("pool", ["prefork", pytest.param("threads", marks=pytest.mark.campaign)])
def test_a_storage_that_hangs_stops_no_worker(
    make_scene: MakeScene, storage_url: str, gate: Path, pool: Pool
) -> None:
    """Its event loop goes on, and receives tasks; its heartbeat is heard again afterwards."""
    own: dict[str, Any] = {
        "fullresult_storage_timeout": HANGS - 3,
        "worker_prefetch_multiplier": 10,
    }
    with through_proxy(storage_url) as (between, own["fullresult_storage"]), make_scene() as here:
        with here.worker(settings=own, pool=pool, concurrency=2) as worker:
            task_id = start(here, "wait_for", gate)
            before = known(here)[0]
            between.plan = lambda _: Delay(HANGS)
            assert_orphaned(here, task_id)

            for number in range(5):
                worker.wait_for_log(f"{here.send('add', number, 1)}] received", timeout=2)
            between.heal()
            assert_orphaned(here)
            gate.touch()
            here.eventually(task_id, workers.is_finished)

        assert known(here)[0].worker_id == before.worker_id
