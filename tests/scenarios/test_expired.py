"""What a record says of tasks that expired before a real worker could run them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from tests.kit import workers

if TYPE_CHECKING:
    from pathlib import Path

    from fullresult import TaskRecord

LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)


def test_expired_when_published(running: workers.Scene) -> None:
    """A worker that receives an expired task revokes it."""
    task_id = running.send("add", 1, 2, expires=LONG_AGO)

    record = running.final(task_id, "REVOKED")

    assert record.expires == LONG_AGO
    assert_expired(record)


def test_expired_behind_another(running: workers.Scene, tmp_path: Path) -> None:
    """A task that expires while another is before it is revoked when its turn comes."""
    go = tmp_path / "go"
    running.send("wait_for", str(go))
    task_id = running.send("add", 1, 2, expires=0.5)
    running.workers[0].wait_for_log(task_id)

    wait_until_expired(running, task_id)
    go.touch()
    record = running.final(task_id, "REVOKED")

    assert_expired(record)


def test_expired_before_its_eta(running: workers.Scene) -> None:
    """A task that expires before its ETA is revoked at its ETA."""
    task_id = running.send("add", 1, 2, countdown=1.5, expires=0.5)

    record = running.final(task_id, "REVOKED")

    assert record.eta is not None
    assert record.date_done is not None
    assert record.date_done >= record.eta
    assert_expired(record)


def test_expired_at_an_idle_worker_of_rabbitmq(
    rabbitmq_url: str, storage_url: str, tmp_path: Path
) -> None:
    """RabbitMQ hands an expired message to a worker that waits for one."""
    with (
        workers.scene(rabbitmq_url, storage_url, tmp_path) as scene,
        scene.worker(),
    ):
        task_id = scene.send("add", 1, 2, expires=LONG_AGO)

        record = scene.final(task_id, "REVOKED")

    assert_expired(record)


def test_expired_in_a_queue_of_rabbitmq(
    rabbitmq_url: str, storage_url: str, tmp_path: Path
) -> None:
    """RabbitMQ drops what expires in a queue and says nothing: the record is pending, and stale."""
    with workers.scene(rabbitmq_url, storage_url, tmp_path) as scene:
        task_id = scene.send("add", 1, 2, expires=0.5)
        wait_until_expired(scene, task_id)

        with scene.worker():
            scene.settle()
        record = scene.eventually(task_id, workers.has_state("PENDING"), timeout=0)
        stale = scene.full.get_stale_tasks(timedelta(milliseconds=1))

    assert record.executions == ()
    assert [other.task_id for other in stale] == [task_id]


def wait_until_expired(scene: workers.Scene, task_id: str) -> None:
    def expired() -> bool:
        record = scene.full.get(task_id)
        return bool(record and record.expires and record.expires < datetime.now(timezone.utc))

    assert workers.until(expired)


def assert_expired(record: TaskRecord) -> None:
    assert record.args == [1, 2]
    assert record.exception_type == "celery.exceptions.TaskRevokedError"
    assert record.exception_message == "expired"
    assert record.executions == ()
    assert (record.date_started, record.runtime) == (None, None)
    assert record.date_done is not None
