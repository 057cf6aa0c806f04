"""What a record says of tasks whose process, or whole worker, is lost."""

from __future__ import annotations

import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import billiard
import celery
import pytest
import redis
from kombu.transport.redis import Channel

from tests.kit import workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fullresult import TaskRecord

LOST = "billiard.exceptions.WorkerLostError"
EXIT_IS_SILENT = celery.VERSION < (5, 7) and billiard.VERSION >= (4, 3)
"""The pool then reports a `SystemExit` that the worker does not expect, and fails to store."""
IMPATIENT = {
    "visibility_timeout": 4,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
}
"""Options of the redis transport: who does not acknowledge for so long is taken for lost."""


@pytest.fixture
def still(redis_url: str, storage_url: str, tmp_path: Path) -> Iterator[workers.Scene]:
    """An app without a worker, impatient with those it will have."""
    options: dict[str, Any] = {"broker_transport_options": IMPATIENT}
    with workers.scene(redis_url, storage_url, tmp_path, **options) as scene:
        yield scene


# --- One process of the pool


@pytest.mark.parametrize("name", ["kill_child", "kill_child_late"])
def test_process_killed(running: workers.Scene, name: str) -> None:
    """A task whose process is killed has failed, as the worker's main process tells."""
    task_id = running.send(name)

    record = running.final(task_id, "FAILURE")

    assert record.exception_message is not None
    assert "signal 9 (SIGKILL)" in record.exception_message
    assert record.traceback is not None
    assert workers.runs(record) == [(0, "FAILURE", LOST)]
    workers.assert_consistent(record)


@pytest.mark.skipif(EXIT_IS_SILENT, reason="this Celery tells nothing of an exit")
def test_process_exits(running: workers.Scene) -> None:
    """A task that calls `sys.exit` has failed: its process is lost."""
    task_id = running.send("exit_child", 3)

    record = running.final(task_id, "FAILURE")

    assert record.exception_message is not None
    assert "exitcode 3" in record.exception_message
    assert workers.runs(record) == [(0, "FAILURE", LOST)]
    workers.assert_consistent(record)


@pytest.mark.skipif(not EXIT_IS_SILENT, reason="this Celery tells of an exit")
def test_process_exits_in_silence(running: workers.Scene) -> None:
    """Where Celery tells nothing of a `sys.exit`, the record says that the run was cut off."""
    task_id = running.send("exit_child", 3)

    record = running.eventually(task_id, lambda r: workers.runs(r) == [(0, "INTERRUPTED", None)])

    assert record.state == "STARTED"


def test_process_killed_in_a_retry(running: workers.Scene) -> None:
    """The end is that of the attempt whose process was lost."""
    task_id = running.send("retry_then_kill_child")

    record = running.final(task_id, "FAILURE")

    assert record.retries == 1
    assert workers.runs(record) == [
        (0, "RETRY", "celery.exceptions.Retry"),
        (1, "FAILURE", LOST),
    ]
    workers.assert_consistent(record)


def test_process_killed_and_requeued(running: workers.Scene) -> None:
    """With `reject_on_worker_lost` the task runs again; of the end of the first run none tells."""
    task_id = running.send("kill_child_and_requeue")

    record = running.final(task_id, "SUCCESS")

    assert record.result == "redelivered"
    assert_second_run_succeeded(record)


@pytest.mark.skipif(celery.VERSION < (5, 7), reason="retry_on_worker_lost came with Celery 5.7")
def test_process_killed_and_retried(running: workers.Scene) -> None:
    """With `retry_on_worker_lost` the main process publishes the next attempt."""
    task_id = running.send("kill_child_and_retry")

    record = running.final(task_id, "SUCCESS")

    assert record.result == "retried"
    assert workers.runs(record) == [(0, "RETRY", LOST), (1, "SUCCESS", None)]
    workers.assert_consistent(record)


# --- The whole worker


def test_worker_killed(still: workers.Scene, tmp_path: Path) -> None:
    """A task lost with its worker stays started, and is found as stale."""
    with still.worker() as worker:
        done = still.send("add", 1, 2)
        still.eventually(done, workers.is_finished)
        task_id = still.send("wait_for", str(tmp_path / "never"))
        still.eventually(task_id, workers.is_started)

        worker.kill()

    with still.worker():
        still.settle()
    record = still.eventually(task_id, workers.is_started, timeout=0)
    assert workers.runs(record) == [(0, "STARTED", None)]
    assert record.worker == "w1@test"
    assert record.date_started is not None
    assert (record.date_done, record.runtime) == (None, None)
    assert [lost.task_id for lost in still.full.get_stale_tasks(timedelta(milliseconds=1))] == [
        task_id
    ]
    assert still.full.get_stale_tasks(timedelta(hours=1)) == []


def test_main_process_killed(still: workers.Scene, tmp_path: Path) -> None:
    """A task whose worker's main process is killed stays started: its own process ends too."""
    with still.worker() as worker:
        task_id = still.send("wait_for", str(tmp_path / "never"))
        still.eventually(task_id, workers.is_started)
        children = worker.children()

        worker.signal(signal.SIGKILL)
        worker.process.wait(workers.PATIENCE)
        assert children
        assert workers.until(lambda: not any(is_alive(pid) for pid in children))

    record = still.eventually(task_id, workers.is_started, timeout=0)
    stale = still.full.get_stale_tasks(timedelta(milliseconds=1))
    assert workers.runs(record) == [(0, "STARTED", None)]
    assert [lost.task_id for lost in stale] == [task_id]


@pytest.mark.slow
def test_worker_killed_and_task_restored(
    still: workers.Scene, redis_url: str, tmp_path: Path
) -> None:
    """Redis gives a late-acknowledged task to the next worker: two runs, two workers."""
    go = tmp_path / "go"
    with still.worker() as worker:
        task_id = still.send("wait_for_late", str(go))
        still.eventually(task_id, workers.is_started)
        worker.kill()

    go.touch()
    wait_until_redis_takes_it_for_lost(redis_url)
    with still.worker():
        record = still.final(task_id, "SUCCESS")

    assert record.start is not None
    assert record.start.worker == "w1@test"
    assert record.worker == "w2@test"
    assert_second_run_succeeded(record, worker=None)


def test_worker_killed_and_task_redelivered(
    rabbitmq_url: str, storage_url: str, tmp_path: Path
) -> None:
    """RabbitMQ gives a late-acknowledged task to the next worker: two runs, two workers."""
    go = tmp_path / "go"
    with workers.scene(rabbitmq_url, storage_url, tmp_path) as scene:
        with scene.worker() as worker:
            task_id = scene.send("wait_for_late", str(go))
            scene.eventually(task_id, workers.is_started)
            worker.kill()

        go.touch()
        with scene.worker():
            record = scene.final(task_id, "SUCCESS")

    assert [run.worker for run in record.executions] == ["w1@test", "w2@test"]
    assert_second_run_succeeded(record, worker=None)


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(Channel, "unacked_restore_throttle"), reason="this kombu restores too rarely"
)
@pytest.mark.parametrize(
    "order",
    [
        pytest.param(("redelivered", "first"), id="first ends last"),
        pytest.param(("first", "redelivered"), id="first ends first"),
    ],
)
def test_task_restored_while_it_runs(
    still: workers.Scene, tmp_path: Path, order: tuple[str, str]
) -> None:
    """A late-acknowledged task that takes longer than redis waits runs twice at the same time."""
    with still.worker(concurrency=2):
        task_id = still.send(
            "wait_for_each_late", str(tmp_path / "first"), str(tmp_path / "redelivered")
        )
        twice = still.eventually(task_id, lambda record: len(record.executions) == 2)

        (tmp_path / order[0]).touch()
        still.eventually(task_id, workers.is_finished)
        (tmp_path / order[1]).touch()
        record = still.eventually(task_id, both_ended)

    assert workers.runs(twice) == [(0, "STARTED", None), (0, "STARTED", None)]
    assert workers.runs(record) == [(0, "SUCCESS", None), (0, "SUCCESS", None)]


def both_ended(record: TaskRecord) -> bool:
    return [run.date_done is None for run in record.executions] == [False, False]


def assert_second_run_succeeded(record: TaskRecord, worker: str | None = "w1@test") -> None:
    """Two runs of one attempt, the first without an end."""
    assert workers.runs(record) == [(0, "STARTED", None), (0, "SUCCESS", None)]
    assert record.executions[0].date_done is None
    assert record.start is not None
    assert record.executions[0].date_started == record.start.date_started
    workers.assert_consistent(record, worker)


def wait_until_redis_takes_it_for_lost(url: str) -> None:
    """A worker looks for lost messages when it starts, and older kombus rarely after that."""

    def lost() -> bool:
        [(_, delivered)] = client.zrange("unacked_index", 0, -1, withscores=True)
        return bool(time.time() > delivered + IMPATIENT["visibility_timeout"])

    with redis.Redis.from_url(url) as client:
        assert workers.until(lost)


def is_alive(pid: int) -> bool:
    """Whether the process runs: not gone, nor waiting for a parent to ask about its end."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
