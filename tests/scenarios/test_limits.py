"""What a record says of tasks that run into a time limit in a real worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kit import workers

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def running(running: workers.Scene) -> workers.Scene:
    """A worker that has connected to its storage."""
    running.settle()
    return running


def test_soft_limit(running: workers.Scene, tmp_path: Path) -> None:
    """A task that goes over its soft limit fails where it was, with a traceback."""
    task_id = running.send("wait_for", str(tmp_path / "never"), soft_time_limit=0.7)

    record = running.final(task_id, "FAILURE")

    assert workers.runs(record) == [(0, "FAILURE", "billiard.exceptions.SoftTimeLimitExceeded")]
    assert "in _wait_for" in (record.traceback or "")
    assert record.runtime is not None
    assert record.runtime > 0
    workers.assert_consistent(record)


def test_soft_limit_caught(running: workers.Scene, tmp_path: Path) -> None:
    """A task that catches its soft limit succeeds."""
    never = str(tmp_path / "never")
    task_id = running.send("wait_for_but_stop_in_time", never, soft_time_limit=0.7)

    record = running.final(task_id, "SUCCESS")

    assert record.result == "stopped in time"
    assert workers.runs(record) == [(0, "SUCCESS", None)]
    workers.assert_consistent(record)


@pytest.mark.parametrize("name", ["wait_for", "wait_for_late"])
def test_hard_limit(running: workers.Scene, tmp_path: Path, name: str) -> None:
    """A task killed at its hard limit has one execution, though Celery tells of it three times."""
    task_id = running.send(name, str(tmp_path / "never"), time_limit=0.7)

    record = running.final(task_id, "FAILURE")

    assert record.exception_type == "billiard.exceptions.TimeLimitExceeded"
    assert record.exception_message is not None
    assert "0.7" in record.exception_message
    assert record.traceback is not None
    assert workers.runs(record) == [(0, "FAILURE", record.exception_type)]
    workers.assert_consistent(record)


def test_hard_limit_of_a_retry(running: workers.Scene, tmp_path: Path) -> None:
    """The end is that of the attempt that was killed, also where Celery does not say which."""
    never = str(tmp_path / "never")
    task_id = running.send("retry_then_wait_for", never, time_limit=0.7)

    record = running.final(task_id, "FAILURE")

    assert record.retries == 1
    assert workers.runs(record) == [
        (0, "RETRY", "celery.exceptions.Retry"),
        (1, "FAILURE", "billiard.exceptions.TimeLimitExceeded"),
    ]
    workers.assert_consistent(record)
