"""What records say of tasks of the pools solo, threads and gevent, and of recycled processes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import celery
import pytest

from fullresult import TaskRecord
from tests.kit import workers
from tests.kit.workers import Pool, Scene

SLOTS = 4
TASKS = 100
POOLS = [
    pytest.param((pool, kind.values[0]), id=f"{pool}-{kind.values[0]}", marks=kind.marks)
    for pool, often in (
        ("solo", ("sqlite",)),
        ("threads", ("sqlite", "postgresql")),
        ("gevent", ("sqlite", "postgresql")),
    )
    for kind in workers.storages(*often)
]
GEVENT_ENDS_TASKS = celery.VERSION[:2] >= (5, 5)
"""Before, a hard time limit cut the greenlet and told nobody; terminating was not there."""
REJECT_IS_A_FAILURE = celery.VERSION[:2] >= (5, 7)


@pytest.fixture(scope="module", params=POOLS)
def running(request: pytest.FixtureRequest) -> Iterator[Scene]:
    """A worker of each pool other than prefork, on each storage."""
    pool, storage = request.param
    slots = 1 if pool == "solo" else SLOTS
    with workers.running(storage, request, pool=pool, concurrency=slots) as scene:
        yield scene


@pytest.fixture
def pool(request: pytest.FixtureRequest) -> Pool:
    name: Pool = request.node.callspec.params["running"][0]
    return name


def told(record: TaskRecord) -> list[tuple[str, int]]:
    return [(execution.state, execution.retries) for execution in record.executions]


def test_success(running: Scene) -> None:
    task_id = running.send("add", 1, 2)

    record = running.final(task_id, "SUCCESS")

    assert (record.name, record.args, record.result) == ("scenario.add", [1, 2], 3)
    assert (record.worker, told(record)) == ("w1@test", [("SUCCESS", 0)])
    assert record.date_published is not None
    assert record.date_started is not None
    assert record.date_done is not None
    assert record.date_published <= record.date_started <= record.date_done


def test_failure(running: Scene) -> None:
    task_id = running.send("fail", "broken")

    record = running.final(task_id, "FAILURE")

    assert (record.exception_type, record.exception_message) == ("ValueError", "broken")
    assert "in fail" in (record.traceback or "")
    assert told(record) == [("FAILURE", 0)]


def test_retries(running: Scene) -> None:
    task_id = running.send("retry", 2)

    record = running.final(task_id, "SUCCESS", retries=2)

    assert told(record) == [("RETRY", 0), ("RETRY", 1), ("SUCCESS", 2)]


def test_a_rejected_task(running: Scene) -> None:
    """Its failure is told with an empty request, in whatever part of the pool."""
    task_id = running.send("reject")

    record = running.final(task_id, "FAILURE" if REJECT_IS_A_FAILURE else "REJECTED")

    assert (record.name, record.retries, record.worker) == ("scenario.reject", 0, "w1@test")
    assert told(record) == [(record.state, 0)]


def test_revoked_before_its_eta(running: Scene) -> None:
    """Under gevent the signal comes from a greenlet of its own."""
    task_id = running.send("add", 1, 2, eta=datetime.now(timezone.utc) + timedelta(seconds=1))
    running.app.control.revoke(task_id)

    record = running.final(task_id, "REVOKED")

    assert record.exception_message == "revoked"
    assert record.date_started is None


def test_tasks_at_once_do_not_mix(running: Scene, pool: Pool, tmp_path: Path) -> None:
    """Each of many that overlap in one process keeps its own start, end and result."""
    gate = tmp_path / "gate"
    if pool == "solo":
        gate.touch()
    waiting = [running.send("wait_for", str(gate)) for _ in range(SLOTS)]
    adding = [running.send("add", n, n) for n in range(20)]
    if pool != "solo":
        for task_id in waiting:
            running.eventually(task_id, workers.is_started)
        gate.touch()

    waited = [running.final(task_id, "SUCCESS") for task_id in waiting]
    added = [running.final(task_id, "SUCCESS") for task_id in adding]

    assert [record.result for record in added] == [n + n for n in range(20)]
    assert {record.result for record in waited} == {"done"}
    assert all(told(record) == [("SUCCESS", 0)] for record in (*waited, *added))
    if pool != "solo":
        starts = [record.date_started for record in waited if record.date_started]
        ends = [record.date_done for record in waited if record.date_done]
        assert max(starts) < min(ends)


def test_a_hard_time_limit(running: Scene, pool: Pool, tmp_path: Path) -> None:
    """Only gevent has one of these pools; the others let the task run to its end."""
    gate = tmp_path / "gate"
    task_id = running.send("wait_for", str(gate), time_limit=1)
    running.eventually(task_id, workers.is_started)

    if pool == "gevent" and not GEVENT_ENDS_TASKS:
        record = running.eventually(task_id, lambda r: told(r) == [("INTERRUPTED", 0)])
        assert record.state == "STARTED"
        return
    if pool == "gevent":
        record = running.final(task_id, "FAILURE")
        assert record.exception_type == "billiard.exceptions.TimeLimitExceeded"
        assert told(record) == [("FAILURE", 0)]
        return
    gate.touch()
    record = running.final(task_id, "SUCCESS")
    assert told(record) == [("SUCCESS", 0)]


def test_terminated_while_running(running: Scene, pool: Pool, tmp_path: Path) -> None:
    """Only gevent can: threads, and a single process, go on and succeed."""
    gate = tmp_path / "gate"
    task_id = running.send("wait_for", str(gate))
    running.eventually(task_id, workers.is_started)

    running.app.control.revoke(task_id, terminate=True)

    if pool == "gevent" and GEVENT_ENDS_TASKS:
        record = running.final(task_id, "REVOKED")
        assert record.exception_message == "terminated"
        assert [state for state, _ in told(record)] == ["REVOKED"]
        assert record.date_started is not None
        return
    if pool == "threads":
        running.workers[0].wait_for_log("Terminating")
    gate.touch()
    record = running.final(task_id, "SUCCESS")
    assert record.result == "done"


# --- Recycled processes


def test_recycled_processes(redis_url: str, storage_url: str, tmp_path: Path) -> None:
    """Every one of many tasks is recorded whole, though a process ends after each third."""
    with (
        workers.scene(redis_url, storage_url, tmp_path) as scene,
        scene.worker("--max-tasks-per-child=3", concurrency=4) as worker,
    ):
        first = set(worker.children())
        ids = [scene.send("add", n, 1) for n in range(TASKS)]

        assert workers.until(lambda: scene.full.count(state="SUCCESS") == TASKS, 60)
        records = {record.task_id: record for record in scene.full.find(limit=None)}
        assert not first & set(worker.children())

    assert [records[task_id].result for task_id in ids] == list(range(1, TASKS + 1))
    for record in records.values():
        assert told(record) == [("SUCCESS", 0)]
        assert record.worker == "w1@test"
        assert record.date_started is not None
