"""What records say of tasks whose worker is told to stop, or loses the connection to its broker."""

from __future__ import annotations

import json
import signal
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import celery
import pytest

from fullresult import TaskRecord
from tests.kit import servers, workers
from tests.kit.workers import Scene, Worker

CELERY = tuple(int(part) for part in celery.__version__.split(".")[:2])


@pytest.fixture
def scene(redis_url: str, storage_url: str, tmp_path: Path) -> Iterator[Scene]:
    """An app without a worker as yet."""
    with workers.scene(redis_url, storage_url, tmp_path, redis_socket_timeout=5) as scene:
        yield scene


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """The file that running tasks wait for."""
    return tmp_path / "gate"


def told(record: TaskRecord) -> list[str]:
    return [execution.state for execution in record.executions]


def is_gone(worker: Worker) -> bool:
    return worker.process.poll() is not None


def start_two(scene: Scene, gate: Path) -> tuple[str, str]:
    """A running task that was acknowledged early, and one that will be late."""
    early, late = scene.send("wait_for", str(gate)), scene.send("wait_for_late", str(gate))
    for task_id in (early, late):
        scene.eventually(task_id, workers.is_started)
    return early, late


def test_a_warm_shutdown(scene: Scene, gate: Path) -> None:
    """Running tasks end as ever; what had not begun is left to the next worker, once."""
    with scene.worker(concurrency=2) as worker:
        early, late = start_two(scene, gate)
        queued = scene.send("add", 1, 2)
        delayed = scene.send("add", 3, 4, countdown=1)
        worker.signal(signal.SIGTERM)
        worker.wait_for_log("Warm shutdown")
        gate.touch()
        assert workers.until(lambda: is_gone(worker))
    ended = [scene.full.get(task_id) for task_id in (early, late)]
    with scene.worker():
        records = [scene.final(task_id, "SUCCESS") for task_id in (queued, delayed)]

    assert [(r.state, told(r)) for r in ended if r] == [("SUCCESS", ["SUCCESS"])] * 2
    assert [(r.result, r.worker, told(r)) for r in records] == [
        (3, "w2@test", ["SUCCESS"]),
        (7, "w2@test", ["SUCCESS"]),
    ]


@pytest.mark.skipif(CELERY >= (5, 5), reason="since, Celery cancels what it runs")
def test_a_cold_shutdown_of_old(scene: Scene, gate: Path) -> None:
    """The worker kills its processes and tells that their tasks are lost."""
    with scene.worker(concurrency=2) as worker:
        ids = start_two(scene, gate)
        worker.signal(signal.SIGQUIT)
        assert workers.until(lambda: is_gone(worker))

    records = [scene.full.get(task_id) for task_id in ids]
    assert [(r.state, r.exception_type, told(r)) for r in records if r] == [
        ("FAILURE", "billiard.exceptions.WorkerLostError", ["FAILURE"])
    ] * 2


@pytest.mark.skipif(CELERY < (5, 5), reason="before, it lost both")
def test_a_cold_shutdown(scene: Scene, gate: Path) -> None:
    """The runs are cut. The late task comes back; the early one is lost, and becomes stale."""
    with scene.worker(concurrency=2) as worker:
        early, late = start_two(scene, gate)
        worker.signal(signal.SIGQUIT)
        assert workers.until(lambda: is_gone(worker))
    gate.touch()
    with scene.worker():
        again = scene.final(late, "SUCCESS")
    lost = scene.full.get(early)

    assert again.result == "done"
    assert told(again) == ["INTERRUPTED", "SUCCESS"]
    assert [execution.worker for execution in again.executions] == ["w1@test", "w2@test"]
    assert lost is not None
    assert (lost.state, told(lost)) == ("STARTED", ["INTERRUPTED"])
    assert lost.executions[0].date_done is not None
    moved_before = scene.full.storage.now()
    assert [r.task_id for r in scene.full.find(open=True, moved_before=moved_before)] == [early]


@pytest.mark.skipif(CELERY < (5, 5), reason="Celery 5.5 brought soft shutdowns")
def test_a_soft_shutdown_that_is_too_short(scene: Scene, gate: Path) -> None:
    """It ends like a cold one."""
    with scene.worker(concurrency=2, settings={"worker_soft_shutdown_timeout": 1}) as worker:
        early, late = start_two(scene, gate)
        worker.signal(signal.SIGQUIT)
        assert workers.until(lambda: is_gone(worker))
    gate.touch()
    with scene.worker():
        again = scene.final(late, "SUCCESS")
    lost = scene.full.get(early)

    assert told(again) == ["INTERRUPTED", "SUCCESS"]
    assert lost is not None
    assert (lost.state, told(lost)) == ("STARTED", ["INTERRUPTED"])


@pytest.mark.skipif(CELERY < (5, 5), reason="Celery 5.5 brought soft shutdowns")
def test_a_soft_shutdown_that_is_long_enough(scene: Scene, gate: Path) -> None:
    """Both succeed, and stay so when the worker says later that it cancelled the early one."""
    with scene.worker(concurrency=2, settings={"worker_soft_shutdown_timeout": 3}) as worker:
        early, late = start_two(scene, gate)
        worker.signal(signal.SIGQUIT)
        worker.wait_for_log("Soft Shutdown")
        gate.touch()
        assert workers.until(lambda: is_gone(worker))

    records = [scene.full.get(task_id) for task_id in (early, late)]
    assert [(r.state, r.result, told(r)) for r in records if r] == [
        ("SUCCESS", "done", ["SUCCESS"]),
        ("SUCCESS", "done", ["SUCCESS"]),
    ]


# --- The connection to the broker


def cut_connections(server: servers.RabbitMQ, broker: str) -> None:
    """Have RabbitMQ close every connection to the virtual host of *broker*."""
    if server.management is None:
        pytest.skip("needs the management API of a server of our own")
    vhost = urllib.parse.urlsplit(broker).path.strip("/")
    names: list[str] = []

    def listed() -> bool:
        connections = _manage(server.management, "GET", f"vhosts/{vhost}/connections")
        names.extend(connection["name"] for connection in connections)
        return bool(names)

    assert workers.until(listed)
    for name in names:
        _manage(server.management, "DELETE", f"connections/{urllib.parse.quote(name)}")


def _manage(api: str | None, method: str, path: str) -> Any:
    credentials = b64encode(b"guest:guest").decode()
    request = urllib.request.Request(
        f"{api}/{path}", headers={"Authorization": f"Basic {credentials}"}, method=method
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"null")


@pytest.mark.parametrize("cancels", [True, False])
def test_a_lost_connection(
    rabbitmq_server: servers.RabbitMQ,
    rabbitmq_url: str,
    storage_url: str,
    tmp_path: Path,
    gate: Path,
    cancels: bool,
) -> None:
    """The late task is delivered again: cancelled first, or else while it still runs."""
    settings: dict[str, Any] = {"worker_cancel_long_running_tasks_on_connection_loss": cancels}
    with (
        workers.scene(rabbitmq_url, storage_url, tmp_path, **settings) as scene,
        scene.worker(concurrency=3) as worker,
    ):
        early, late = start_two(scene, gate)

        cut_connections(rabbitmq_server, rabbitmq_url)
        worker.wait_for_log("Connection to broker lost")
        if CELERY >= (5, 5):  # before, nothing was delivered again while the tasks ran
            scene.eventually(late, lambda record: len(record.executions) == 2)
        gate.touch()
        ended = [scene.final(task_id, "SUCCESS") for task_id in (early, late)]
        assert not is_gone(worker)

    assert [record.result for record in ended] == ["done", "done"]
    assert told(ended[0]) == ["SUCCESS"]
    assert told(ended[1])[-1] == "SUCCESS"
    if cancels and CELERY >= (5, 5):
        assert told(ended[1]) == ["INTERRUPTED", "SUCCESS"]
