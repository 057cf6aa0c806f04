"""Explanations of what real workers refuse, drop, hold, leave behind and wait for.

Long because each rule is a few lines, tried with the same workers on both brokers.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord

from fullresult.extension.asking import Asking
from tests.kit import workers
from tests.kit.explaining import MakeScene, carded, explained, scene_maker
from tests.kit.workers import Scene

pytestmark = pytest.mark.campaign


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make_scene(broker: str, request: pytest.FixtureRequest, tmp_path: Path) -> MakeScene:
    return scene_maker(broker, request, tmp_path)


@pytest.fixture
def scene(make_scene: MakeScene) -> Iterator[Scene]:
    with make_scene() as scene:
        yield scene


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """The file that running tasks wait for."""
    return tmp_path / "gate"


def test_two_releases_one_of_which_knows_the_task(make_scene: MakeScene) -> None:
    with make_scene() as scene:
        before = replace(scene, module="tests.apps.scenario_app")
        old, new = {"fullresult_release": "2026.1"}, {"fullresult_release": "2026.2"}
        with before.worker("-Q", "mail", settings=old), scene.worker(settings=new):
            carded(scene, 2)
            task_id = scene.send("limited", queue="mail")

            found = explained(scene, task_id, "not registered")

    assert found.sentence == (
        "w1@test does not know scenario.limited (release 2026.1); w2@test (release 2026.2) knows "
        "it."
    )
    assert found.confidence == "certain"
    assert {each.source for each in found.evidence} == {"record", "card of w2@test"}


def test_a_serializer_that_one_worker_takes_and_another_refuses(make_scene: MakeScene) -> None:
    with make_scene() as scene, scene.worker(settings={"accept_content": ["json", "yaml"]}):
        carded(scene)
        task_id = scene.send("add", 1, 2, serializer="pickle")

        found = explained(scene, task_id, "content not accepted")

    assert found.sentence == "w1@test refuses pickle; it accepts json and yaml."
    assert found.commands == ("set accept_content to allow pickle, or publish as json and yaml",)


def test_what_expired_in_the_hand_of_a_worker(make_scene: MakeScene, gate: Path) -> None:
    """On RabbitMQ, too: what expires in a queue there is dropped without a word."""
    with make_scene(worker_prefetch_multiplier=3) as scene, scene.worker():
        carded(scene)
        scene.eventually(scene.send("wait_for", str(gate)), workers.is_started)
        task_id = scene.send("add", 1, 2, expires=1.0)
        explained(scene, task_id, "worker is full")
        time.sleep(1.0)  # the task's own time
        gate.touch()

        found = explained(scene, task_id, "expired")

    assert " before w1@test was to begin it: it waited " in found.sentence
    assert found.confidence == "certain"
    assert found.commands == (f"celery -A proj fullresult resend {task_id}",)


def test_what_was_revoked_in_the_hand_of_a_worker_and_what_while_it_ran(
    make_scene: MakeScene, gate: Path
) -> None:
    with make_scene(worker_prefetch_multiplier=3) as scene, scene.worker():
        carded(scene)
        running = scene.send("wait_for", str(gate))
        scene.eventually(running, workers.is_started)
        taken = scene.send("add", 1, 2)
        explained(scene, taken, "worker is full")
        scene.revoke(taken)
        scene.revoke(running, terminate=True)

        dropped = explained(scene, taken, "revoked")
        ended = explained(scene, running, "terminated")

    assert dropped.sentence.startswith("It was revoked, and w1@test dropped it at ")
    assert ended.sentence.startswith("It was terminated at ")


@contextmanager
def frozen(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def any_runs(scene: Scene) -> bool:
    """True if a worker has not heard the end of all that it gave to its processes."""
    return any(each.running_count for each in Asking(scene.app).everybody().workers.answers)


def test_a_task_that_its_process_has_not_begun(scene: Scene) -> None:
    """It is in the pipe to the process, which says nothing yet."""
    with scene.worker() as worker:
        carded(scene)
        scene.settle()
        assert workers.until(lambda: not any_runs(scene))
        with frozen(worker.children()):
            task_id = scene.send("add", 1, 2)

            found = explained(scene, task_id, "about to run")

            assert found.sentence == "w1@test has taken it and is about to run it."
            assert found.confidence == "certain"
        scene.final(task_id, "SUCCESS")


def test_what_runs_on_a_worker_that_is_not_asked(scene: Scene, gate: Path) -> None:
    with scene.worker():
        carded(scene)
        task_id = scene.send("wait_for", str(gate))
        scene.eventually(task_id, workers.is_started)

        found = explained(scene, task_id, "running", offline=True)

        assert found.sentence.startswith("w1@test runs it, by the record, begun at ")
        assert "and was heard of at " in found.sentence
        assert found.confidence == "likely"
        gate.touch()


def test_an_orphan_that_is_acknowledged_late_comes_again(scene: Scene, gate: Path) -> None:
    with scene.worker(concurrency=2) as worker:
        carded(scene)
        early, late = scene.send("wait_for", str(gate)), scene.send("wait_for_late", str(gate))
        for task_id in (early, late):
            scene.eventually(task_id, workers.is_started)
        worker.kill()

    found = explained(scene, late, "orphan", offline=True)
    assert "it is acknowledged late, so that the broker delivers it again" in found.sentence
    assert found.confidence == "likely"
    found = explained(scene, early, "orphan", offline=True)
    assert "so that the broker does not deliver it again" in found.sentence


@pytest.mark.parametrize("left", ["other", None])
def test_a_consumer_that_was_cancelled(scene: Scene, left: str | None, broker: str) -> None:
    queues = "celery,other" if left else "celery"
    with scene.worker("-Q", queues):
        carded(scene)
        scene.app.control.cancel_consumer("celery", reply=True)
        task_id = scene.send("add", 1, 2)

        found = explained(scene, task_id, "nobody consumes its queue")

    counts = broker == "rabbitmq"
    surely = "" if counts else ", as far as is known"
    assert found.sentence == (
        f"No living worker consumes celery{surely}; w1@test consumes {left or 'no queue'}."
    )
    assert found.confidence == ("certain" if counts else "likely")
    assert found.commands[0] == "celery -A proj control add_consumer celery"
    assert len(found.commands) == (2 if left else 1)


@pytest.mark.parametrize("broker", ["redis"], indirect=True)
def test_two_living_workers_of_one_node_name(scene: Scene, gate: Path) -> None:
    """Both answer. On RabbitMQ Celery does not start the second."""
    with scene.worker("-n", "twin@test"), scene.worker("-n", "twin@test"):
        carded(scene, 2)
        running = [scene.send("wait_for", str(gate)) for _ in range(2)]
        for task_id in running:
            scene.eventually(task_id, workers.is_started)
        taken = scene.send("add", 1, 2)

        for task_id in (*running, taken):
            assert workers.until(lambda of=task_id: scene.full.explain(of).unknown == ())  # type: ignore[misc]
        for task_id in running:
            # On a busy machine one may answer later than it is waited for: then the record tells.
            assert workers.until(lambda of=task_id: scene.full.explain(of).confidence == "certain")  # type: ignore[misc]
            found = explained(scene, task_id, "running")
            assert found.sentence.startswith("twin@test runs it")
        explained(scene, taken, "worker is full")
        assert len(scene.full.workers().workers) == 2
        risks = {each.name: each for each in scene.full.doctor().risks}
        assert risks["node name is shared"].sentence == "twin@test is the name of several workers."
        gate.touch()


def test_a_worker_that_began_anew_under_its_name_is_not_waited_for(scene: Scene) -> None:
    with scene.worker("-n", "again@test") as first:
        carded(scene)
        first.kill()
    with scene.worker("-n", "again@test"):
        carded(scene, 2)
        task_id = scene.send("add", 1, 2, countdown=60)

        found = explained(scene, task_id, "held until its ETA")

    assert found.unknown == ()


@contextmanager
def with_results(make_scene: MakeScene, request: pytest.FixtureRequest) -> Iterator[Scene]:
    backend = request.getfixturevalue("redis_url")
    with make_scene(result_backend=backend) as scene, scene.worker(concurrency=2):
        carded(scene)
        yield scene


def test_the_body_of_a_chord_that_real_workers_run(
    make_scene: MakeScene, request: pytest.FixtureRequest, gate: Path
) -> None:
    with with_results(make_scene, request) as scene:
        add, fail, wait = (scene.task(name) for name in ("add", "fail", "wait_for"))
        members = [add.si(1, 1), fail.si("no stock"), wait.si(str(gate))]
        result = chord(members, app=scene.app)(add.si(1, 2))
        ids = {each.name: each.task_id for each in scene.full.find()}
        scene.eventually(ids["scenario.add"], workers.is_finished)
        scene.eventually(ids["scenario.fail"], workers.is_finished)
        scene.eventually(ids["scenario.wait_for"], workers.is_started)

        found = scene.full.explain(result.id)

        assert found.verdict == "body of a chord"
        failed = f"{ids['scenario.fail']} failed (ValueError: no stock)"
        assert f"waits for 2 of 3 members: {failed}, 1 STARTED" in found.sentence
        assert f"celery -A proj fullresult heal {ids['scenario.fail']}" in found.commands
        gate.touch()


def test_a_chord_whose_member_is_a_chord_that_failed(
    make_scene: MakeScene, request: pytest.FixtureRequest
) -> None:
    """Celery's Redis backend tells the outer chord nothing: it waits for ever."""
    with with_results(make_scene, request) as scene:
        add, fail = scene.task("add"), scene.task("fail")
        inner = chord([fail.si("no stock"), add.si(1, 1)], add.si(2, 2), app=scene.app)
        result = chord([inner, add.si(3, 3)], app=scene.app)(add.si(4, 4))
        [failed] = scene.full.find(name="scenario.fail")
        scene.eventually(failed.task_id, workers.has_state("FAILURE"))
        scene.settle()

        found = explained(scene, result.id, "body of a chord")

    assert " waits for 1 of 2 members: the chord of scenario.add (" in found.sentence
    assert f"failed, by {failed.task_id} (ValueError: no stock)" in found.sentence
    assert found.sentence.endswith("So scenario.add is not sent, and scenario.add waits for it.")
    assert found.confidence == "certain"


def test_a_step_that_comes_after_one_that_failed(
    make_scene: MakeScene, request: pytest.FixtureRequest
) -> None:
    with with_results(make_scene, request) as scene:
        add, fail = scene.task("add"), scene.task("fail")
        last = chain(add.si(1, 1), fail.si("no stock"), add.si(1, 2), app=scene.app).apply_async()
        failed = last.parent.id
        scene.eventually(failed, workers.has_state("FAILURE"))

        found = explained_either(scene, last.id)

    assert "with ValueError: no stock" in found.sentence
    assert f"celery -A proj fullresult resume {failed}" in found.commands


def explained_either(scene: Scene, task_id: str) -> Any:
    """With a record or without: the backend tells the failure of all later steps."""
    verdicts = ("never published", "step before it failed")
    assert workers.until(lambda: scene.full.explain(task_id).verdict in verdicts)
    return scene.full.explain(task_id)


def test_a_late_task_names_the_run_that_it_waited_behind(scene: Scene, gate: Path) -> None:
    with scene.worker():
        carded(scene)
        scene.eventually(scene.send("wait_for", str(gate)), workers.is_started)
        task_id = scene.send("add", 1, 2)
        time.sleep(2.5)  # what it waits
        gate.touch()
        scene.eventually(task_id, workers.is_finished)

        found = scene.full.explain(task_id)

    late = next(each for each in found.also if each.verdict == "late")
    assert "behind 1 run on w1@test, the longest scenario.wait_for with " in late.sentence
