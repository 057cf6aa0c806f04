"""Explanations of tasks on real brokers, with real workers.

Long because each rule is a few lines, tried with the same workers on both brokers.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import celery
import pytest

from fullresult.insight.explain.explanation import Explanation
from tests.kit import servers, workers
from tests.kit.explaining import MakeScene, carded, explained, frozen, scene_maker
from tests.kit.workers import Scene

BROKERS = ["redis", "rabbitmq"]
BUDGET = 2.0
"""Seconds that an explanation may take, whoever does not answer."""


@pytest.fixture(params=BROKERS)
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


def said(found: Explanation) -> str:
    return f"{found.sentence} [{found.confidence}]"


def sources(found: Explanation) -> set[str]:
    return {each.source for each in found.evidence}


def test_of_each_task_it_is_said_who_has_it(make_scene: MakeScene, gate: Path, broker: str) -> None:
    with make_scene(worker_prefetch_multiplier=3) as scene, scene.worker():
        carded(scene)
        held = scene.send("add", 1, 1, countdown=3600)
        scene.eventually(scene.send("limited"), workers.is_finished)
        limited = scene.send("limited")
        running = scene.send("wait_for", str(gate))
        scene.eventually(running, workers.is_started)
        reserved, _ = scene.send("add", 1, 1), scene.send("add", 2, 1)
        explained(scene, reserved, "worker is full")
        _, waiting = scene.send("add", 1, 2), scene.send("add", 2, 2)
        elsewhere = scene.send("add", 1, 3, queue="archive")
        revoked = scene.send("add", 1, 4, queue="archive")
        scene.revoke(revoked)

        found = explained(scene, running, "running")
        assert found.sentence.startswith("w1@test runs it, for ")
        assert (found.confidence, found.unknown) == ("certain", ())
        assert sources(found) == {"worker w1@test"}

        found = explained(scene, reserved, "worker is full")
        assert "its 1 process runs scenario.wait_for for " in found.sentence
        assert "2 tasks wait in it" in found.sentence
        assert "worker_prefetch_multiplier" in found.commands[0]

        found = explained(scene, held, "held until its ETA")
        assert re.match("w1@test holds it until its ETA, in (59|1 h 00) m ", found.sentence)
        assert [each.verdict for each in found.also] == ["made by"]

        limits = explained(scene, limited, "rate limit").sentence
        assert "scenario.limited is limited to 1/h, and 0 tasks of its name" in limits

        found = explained(scene, waiting, "waits in its queue")
        if broker == "redis":
            assert "It waits in celery, with 1 message before it" in found.sentence
            assert found.confidence == "certain"
        else:
            assert "It most likely waits in celery, which has 2 messages and 1 consumer" in (
                found.sentence
            )
            assert found.confidence == "likely"

        found = explained(scene, elsewhere, "nobody consumes its queue")
        known, sure = (
            ("", "certain") if broker == "rabbitmq" else (", as far as is known", "likely")
        )
        assert said(found) == (
            f"No living worker consumes archive{known}; w1@test consumes celery. [{sure}]"
        )
        again = f"celery -A proj fullresult resend {elsewhere} --queue celery  # it runs twice, if "
        assert found.commands[1].startswith(again)

        found = explained(scene, revoked, "nobody consumes its queue")
        assert found.sentence.endswith(" It was revoked, too, as w1@test knows.")
        assert not any("resend" in each for each in found.commands)
        scene.revoke(waiting)
        found = explained(scene, waiting, "revoked, and waits")
        assert found.sentence == "It was revoked: w1@test will drop it when it comes."

        found = explained(scene, elsewhere, "nobody consumes its queue", offline=True)
        assert found.confidence == "likely"
        assert found.unknown == ("workers: they were not asked", "broker: it was not asked")
        made = found.also[-1]
        assert made.verdict == "made by"
        assert made.sentence.startswith(f"Published by gen{os.getpid()}@")


@pytest.mark.campaign
def test_a_worker_that_is_stopped_by_a_signal_is_named_in_two_seconds(
    make_scene: MakeScene, gate: Path
) -> None:
    with make_scene(fullresult_heartbeat=3) as scene, scene.worker() as worker:
        carded(scene)
        with frozen(scene, worker.pid):
            task_id = scene.send("wait_for", str(gate))
            explained(scene, task_id, "no answer")
            began = time.monotonic()
            found = scene.full.explain(task_id)
            assert time.monotonic() - began < BUDGET
            assert found.verdict == "no answer"
            assert "frozen, cut off from the broker, or busy" in found.sentence
            assert found.confidence == "possible"
            assert found.unknown == ("worker w1@test: it lives, and did not answer within 1 s",)

            found = explained(scene, task_id, "no worker")
            assert "the last, w1@test, was killed, or cut off" in found.sentence


@pytest.mark.campaign
def test_a_busy_solo_pool_is_told_from_a_dead_one(scene: Scene, gate: Path) -> None:
    with scene.worker(pool="solo"):
        carded(scene)
        first = scene.send("wait_for", str(gate))
        scene.eventually(first, workers.is_started)
        task_id = scene.send("add", 1, 2)

        found = explained(scene, task_id, "worker is busy")

        assert found.sentence.startswith("w1@test runs scenario.wait_for for ")
        assert "with its solo pool takes and answers nothing meanwhile" in found.sentence
        assert found.confidence == "likely"


@pytest.mark.campaign
def test_workers_that_ended_and_workers_that_were_killed(scene: Scene, broker: str) -> None:
    with scene.worker() as worker:
        carded(scene)
        worker.stop()
    task_id = scene.send("add", 1, 2)

    found = explained(scene, task_id, "no worker")

    assert "the last, w1@test, ended as it should" in found.sentence
    assert found.confidence == ("certain" if broker == "rabbitmq" else "likely")
    assert found.commands == ("celery -A proj worker -Q celery",)
    offline = explained(scene, task_id, "no worker", offline=True)
    assert (offline.sentence, offline.confidence) == (found.sentence, "possible")


@pytest.mark.campaign
def test_workers_on_another_virtual_host(
    make_scene: MakeScene, broker: str, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(f"{broker}_server")
    lend = servers.redis_database if broker == "redis" else servers.rabbitmq_vhost
    with (
        lend(server) as other,
        make_scene() as scene,
        scene.worker(settings={"broker_url": other, "result_backend": None}),
    ):
        carded(scene)
        task_id = scene.send("add", 1, 2)

        found = explained(scene, task_id, "on another broker")

    assert found.sentence.startswith("w1@test lives, but on ")
    assert found.sentence.endswith(f"this task went to {scene.full.settings.namespace}.")
    assert found.confidence == "certain"


@pytest.mark.campaign
def test_a_purged_queue_is_a_loss(scene: Scene, gate: Path) -> None:
    with scene.worker():
        carded(scene)
        running = scene.send("wait_for", str(gate))
        scene.eventually(running, workers.is_started)
        scene.send("add", 1, 1)
        task_id = scene.send("add", 1, 2)
        explained(scene, task_id, "waits in its queue")
        scene.app.control.purge()

        found = explained(scene, task_id, "lost")

    assert found.sentence.startswith(
        "It is most likely lost: the queue is empty, and no worker that answers has it."
    )
    assert found.confidence == "likely"
    assert {"broker", "worker w1@test"} <= sources(found)


@pytest.mark.campaign
@pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)
def test_a_queue_that_is_gone(scene: Scene) -> None:
    task_id = scene.send("add", 1, 2, queue="short-lived")
    with scene.app.connection_for_write() as connection:
        connection.default_channel.queue_delete("short-lived")
    with scene.worker():
        carded(scene)

        found = explained(scene, task_id, "queue is gone")

    assert found.sentence == (
        "There is no queue short-lived on this app's broker: what waited there is gone with it."
    )
    assert found.confidence == "likely"


@pytest.mark.campaign
@pytest.mark.parametrize("broker", ["redis"], indirect=True)
def test_what_a_killed_worker_had_taken(scene: Scene, gate: Path) -> None:
    """Not what it ran: what it had prefetched, which only the broker knows."""
    with scene.worker() as first:
        carded(scene)
        scene.eventually(scene.send("wait_for", str(gate)), workers.is_started)
        task_id = scene.send("add", 1, 2)
        explained(scene, task_id, "worker is full")
        first.kill()
    with scene.worker():
        found = explained(scene, task_id, "taken and not acknowledged")

    gone, mute = "most likely w1@test, gone since", "w1@test may have it"
    assert gone in found.sentence or mute in found.sentence
    assert not any("resend" in each for each in found.commands)
    assert "delivers it again after" in found.sentence


@pytest.mark.campaign
def test_an_orphan_says_if_it_comes_again(scene: Scene, gate: Path) -> None:
    with scene.worker() as worker:
        carded(scene)
        task_id = scene.send("wait_for", str(gate))
        late = scene.send("wait_for_late", str(gate))
        scene.eventually(task_id, workers.is_started)
        worker.kill()

    found = explained(scene, task_id, "orphan", offline=True)

    assert found.sentence.startswith("w1@test ran it since ")
    assert "it was acknowledged, so that the broker does not deliver it again" in found.sentence
    again = f"celery -A proj fullresult resend {task_id}  # it runs twice, if that worker lives on"
    assert again in found.commands
    assert scene.full.explain(late, offline=True).verdict in ("no worker", "orphan")


@pytest.mark.campaign
@pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)
def test_a_second_delivery_after_a_kill(scene: Scene, gate: Path) -> None:
    with scene.worker() as first:
        carded(scene)
        task_id = scene.send("wait_for_late", str(gate))
        scene.eventually(task_id, workers.is_started)
        first.kill()
    with scene.worker():
        gate.touch()
        scene.final(task_id, "SUCCESS")
        time.sleep(3)  # until the first worker's lease is over

        found = scene.full.explain(task_id)

    twice = next(each for each in found.also if each.verdict == "ran twice")
    assert "w1@test began it at " in twice.sentence
    assert "w2@test" in twice.sentence
    assert any("redelivered" in each.said for each in twice.evidence)


@pytest.mark.campaign
@pytest.mark.parametrize("broker", ["redis"], indirect=True)
def test_a_visibility_timeout_that_is_too_short(make_scene: MakeScene, gate: Path) -> None:
    options = {
        "visibility_timeout": 3,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    }
    with (
        make_scene(broker_transport_options=options) as scene,
        scene.worker(concurrency=2),
        scene.worker(concurrency=2),
    ):
        carded(scene, 2)
        task_id = scene.send("wait_for_late", str(gate))
        scene.eventually(task_id, lambda record: len(record.executions) > 1)
        gate.touch()
        scene.eventually(task_id, workers.is_finished)
        time.sleep(1)

        found = scene.full.explain(task_id)

    twice = next(each for each in found.also if each.verdict == "ran twice")
    assert "when the visibility timeout of 3.0 s was over" in twice.sentence
    assert twice.confidence == "certain"
    assert "visibility_timeout" in twice.commands[0]


@pytest.mark.campaign
def test_what_workers_refuse_or_drop(make_scene: MakeScene, gate: Path, broker: str) -> None:
    with make_scene(fullresult_release="2026.1") as scene, scene.worker():
        carded(scene)
        unknown = scene.app.send_task("scenario.not_there").id
        pickled = scene.send("add", 1, 2, serializer="pickle")
        running = scene.send("wait_for", str(gate))
        scene.eventually(running, workers.is_started)
        expired = scene.send("add", 1, 2, expires=0.5)
        time.sleep(0.7)
        gate.touch()
        for task_id, state in ((unknown, "FAILURE"), (pickled, "REJECTED")):
            scene.eventually(task_id, workers.has_state(state))

        found = explained(scene, unknown, "not registered")
        assert found.sentence == (
            "w1@test does not know scenario.not_there (release 2026.1); no living worker "
            "with a card knows it."
        )
        found = explained(scene, pickled, "content not accepted")
        assert found.sentence == "w1@test refuses pickle; it accepts json."
        if broker == "redis":  # RabbitMQ drops what expires in a queue, and tells nobody
            found = explained(scene, expired, "expired")
            assert "before w1@test was to begin it: it waited " in found.sentence


@pytest.mark.campaign
@pytest.mark.skipif(celery.VERSION < (5, 6), reason="it makes no exchange for such a queue")
@pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)
def test_the_delay_of_a_quorum_queue(make_scene: MakeScene) -> None:
    queues = {
        "task_default_queue": "q",
        "task_default_queue_type": "quorum",
        "task_default_exchange_type": "topic",
        "task_create_missing_queue_exchange_type": "topic",
    }
    with make_scene(**queues) as scene, scene.worker("-Q", "q,other"):
        carded(scene)
        task_id = scene.send("add", 1, 2, countdown=3600, queue="other")

        found = explained(scene, task_id, "delayed by RabbitMQ")

    assert "It waits in RabbitMQ's own delay until " in found.sentence
    assert [each.verdict for each in found.also] == ["made by"]


@pytest.mark.campaign
def test_when_the_broker_is_away_it_says_so_in_two_seconds(
    make_scene: MakeScene, broker: str
) -> None:
    with make_scene() as scene, scene.worker():
        carded(scene)
        task_id = scene.send("add", 1, 2, queue="archive")
        port = servers.free_port()
        scene.app.conf.broker_write_url = (
            f"redis://127.0.0.1:{port}/0" if broker == "redis" else f"amqp://127.0.0.1:{port}//"
        )
        began = time.monotonic()

        found = scene.full.explain(task_id)

        assert time.monotonic() - began < BUDGET
        assert any(each.startswith("workers: ") for each in found.unknown)
        assert any(each.startswith("queue archive: ") for each in found.unknown)
        assert found.verdict == "nobody consumes its queue"


@pytest.mark.parametrize(
    "broker", ["redis", pytest.param("rabbitmq", marks=pytest.mark.campaign)], indirect=True
)
def test_a_late_task_says_what_it_waited_for(
    make_scene: MakeScene,
) -> None:
    with make_scene() as scene:
        with scene.worker() as first:
            carded(scene)
            first.stop()
        task_id = scene.send("add", 1, 2)
        time.sleep(2.5)
        with scene.worker():
            scene.eventually(task_id, workers.is_finished)
            carded(scene, 2)

            found = scene.full.explain(task_id)

    late = next(each for each in found.also if each.verdict == "late")
    assert "without a known consumer of celery" in late.sentence
