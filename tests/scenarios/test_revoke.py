"""What a record says of revoked tasks of a real worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kit import workers

if TYPE_CHECKING:
    from pathlib import Path

    from fullresult import TaskRecord


def test_revoked_before_its_eta(running: workers.Scene) -> None:
    """A task revoked while it waits for its ETA ends without having run."""
    task_id = running.send("add", 1, 2, countdown=1.5)
    running.workers[0].wait_for_log(task_id)

    running.revoke(task_id)
    record = running.final(task_id, "REVOKED")

    assert record.eta is not None
    assert record.date_done is not None
    assert record.date_done >= record.eta
    assert_never_ran(record, "revoked")


def test_revoked_behind_another(running: workers.Scene, tmp_path: Path) -> None:
    """A task revoked while another is before it ends, without having run, when its turn comes."""
    go = tmp_path / "go"
    first = running.send("wait_for", str(go))
    task_id = running.send("add", 1, 2)
    running.workers[0].wait_for_log(task_id)

    running.revoke(task_id)
    waiting = running.full.get(task_id)
    go.touch()
    record = running.final(task_id, "REVOKED")

    assert waiting is not None
    assert waiting.state == "PENDING"
    assert running.final(first, "SUCCESS").result == "done"
    assert_never_ran(record, "revoked")


def test_revoked_before_it_was_received(running: workers.Scene) -> None:
    """A worker that knows of the revoke does not even receive the task."""
    running.revoke("unknown-as-yet")

    running.send("add", 1, 2, task_id="unknown-as-yet")
    record = running.final("unknown-as-yet", "REVOKED")

    assert record.args == [1, 2]
    assert_never_ran(record, "revoked")


def test_revoked_before_its_retry(running: workers.Scene) -> None:
    """A task revoked while it waits for its next attempt keeps the attempt it made."""
    task_id = running.send("retry_later", 1.5)
    running.eventually(task_id, lambda record: record.retries == 1)

    running.revoke(task_id)
    record = running.final(task_id, "REVOKED")

    assert record.retries == 1
    assert workers.runs(record) == [(0, "RETRY", "celery.exceptions.Retry")]


@pytest.mark.parametrize("name", ["wait_for", "wait_for_late"])
@pytest.mark.parametrize("by", ["SIGTERM", "SIGKILL"])
def test_terminated(running: workers.Scene, tmp_path: Path, name: str, by: str) -> None:
    """A task whose process is killed by a revoke has one execution, and is not delivered again."""
    task_id = running.send(name, str(tmp_path / "never"))
    running.eventually(task_id, workers.is_started)

    running.revoke(task_id, terminate=True, signal=by)
    record = running.final(task_id, "REVOKED")

    assert_terminated(record)


def test_revoked_while_running(running: workers.Scene, tmp_path: Path) -> None:
    """A revoke that does not terminate changes nothing for a task that runs."""
    go = tmp_path / "go"
    task_id = running.send("wait_for", str(go))
    running.eventually(task_id, workers.is_started)

    running.revoke(task_id)
    go.touch()
    record = running.final(task_id, "SUCCESS")

    assert workers.runs(record) == [(0, "SUCCESS", None)]
    workers.assert_consistent(record)


def test_terminated_by_a_stamp(running: workers.Scene, tmp_path: Path) -> None:
    """A task terminated by one of its stamps is revoked like one terminated by its id."""
    signature = running.task("wait_for").s(str(tmp_path / "never"))
    signature.stamp(batch="7")
    task_id = signature.apply_async().id
    started = running.eventually(task_id, workers.is_started)

    running.app.control.revoke_by_stamped_headers({"batch": "7"}, terminate=True)
    record = running.final(task_id, "REVOKED")

    assert started.stamps == {"batch": "7"}
    assert_terminated(record)


def assert_never_ran(record: TaskRecord, reason: str) -> None:
    assert record.name == "scenario.add"
    assert record.exception_type == "celery.exceptions.TaskRevokedError"
    assert record.exception_message == reason
    assert record.traceback is None
    assert record.executions == ()
    assert record.date_published is not None
    assert record.date_done is not None
    assert record.date_published <= record.date_done
    assert (record.date_started, record.runtime, record.result_form) == (None, None, None)


def assert_terminated(record: TaskRecord) -> None:
    assert record.exception_message == "terminated"
    assert workers.runs(record) == [(0, "REVOKED", "celery.exceptions.TaskRevokedError")]
    workers.assert_consistent(record)
