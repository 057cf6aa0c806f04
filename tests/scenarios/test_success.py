"""What a record says of tasks that succeed or raise in a real worker."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import celery
import pytest

from tests.kit import workers

if TYPE_CHECKING:
    from pathlib import Path

    from fullresult import TaskRecord


@pytest.fixture(scope="module", params=workers.storages("sqlite", "postgresql", slow=("mongodb",)))
def running_on(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_success(running: workers.Scene) -> None:
    """A task that simply succeeds has its result, its dates and one execution."""
    task_id = running.send("add", 1, 2)

    record = running.final(task_id, "SUCCESS")

    assert record.name == "scenario.add"
    assert (record.args, record.kwargs) == ([1, 2], {})
    assert record.result == 3
    assert record.retries == 0
    assert (record.exception_type, record.exception_message, record.traceback) == (None, None, None)
    assert_ran_once(record, "SUCCESS")


def test_success_by_keywords(running: workers.Scene) -> None:
    """Keyword arguments are kept as such."""
    task_id = running.send("add", kwargs={"x": 1, "y": 2})

    record = running.final(task_id, "SUCCESS")

    assert (record.args, record.kwargs) == ([], {"x": 1, "y": 2})


def test_exception(running: workers.Scene) -> None:
    """A task that raises has the exception, its message and traceback, and one execution."""
    task_id = running.send("fail", "no such order: 7")

    record = running.final(task_id, "FAILURE")

    assert record.exception_type == "ValueError"
    assert record.exception_message == "no such order: 7"
    assert record.traceback is not None
    assert record.traceback.startswith("Traceback (most recent call last):")
    assert record.traceback.rstrip().endswith("ValueError: no such order: 7")
    assert "in fail" in record.traceback
    assert (record.result, record.result_form) == (None, None)
    assert_ran_once(record, "FAILURE")


def test_wrong_arguments_by_name(running: workers.Scene) -> None:
    """A task sent by name with too few arguments fails in the worker."""
    task_id = running.app.send_task("scenario.add", (1,)).id

    record = running.final(task_id, "FAILURE")

    assert record.exception_type == "TypeError"
    assert record.args == [1]
    assert_ran_once(record, "FAILURE")


def test_wrong_arguments_of_a_known_task(running: workers.Scene) -> None:
    """`apply_async` of a registered task refuses wrong arguments before anything is published."""
    before = running.full.count()

    with pytest.raises(TypeError, match="y"):
        running.send("add", 1)

    assert running.full.count() == before


def test_before_start_raises(running: workers.Scene) -> None:
    """A task whose `before_start` hook raises has failed with the hook's exception."""
    task_id = running.send("with_hooks", "before_start")

    record = running.final(task_id, "FAILURE")

    assert record.exception_type == "RuntimeError"
    assert record.exception_message == "before_start raised"
    assert_ran_once(record, "FAILURE")


def test_after_return_raises(running: workers.Scene) -> None:
    """An `after_return` hook that raises changes nothing: Celery only logs it."""
    task_id = running.send("with_hooks", "after_return")

    record = running.final(task_id, "SUCCESS")

    assert record.result == "after_return"
    assert record.exception_type is None
    assert_ran_once(record, "SUCCESS")


def test_on_success_raises(running: workers.Scene) -> None:
    """An `on_success` hook that raises is only logged since Celery 5.7; before, the task fails."""
    task_id = running.send("with_hooks", "on_success")

    if celery.VERSION >= (5, 7):
        record = running.final(task_id, "SUCCESS")
        assert (record.result, record.exception_type) == ("on_success", None)
        assert_ran_once(record, "SUCCESS")
    else:
        record = running.final(task_id, "FAILURE")
        assert record.exception_message == "on_success raised"
        assert_ran_once(record, "FAILURE")


def test_on_failure_raises(running: workers.Scene) -> None:
    """An `on_failure` hook that raises hides the task's own exception from every signal."""
    task_id = running.send("with_hooks", "on_failure")

    record = running.final(task_id, "FAILURE")

    assert record.exception_type == "RuntimeError"
    assert record.exception_message == "on_failure raised"
    assert record.traceback is not None
    assert "ValueError: the body failed" in record.traceback
    assert_ran_once(record, "FAILURE")


def test_child_killed_after_success(running: workers.Scene) -> None:
    """A process killed after its result was stored leaves a success."""
    task_id = running.send("die_after_success", 7)

    record = running.final(task_id, "SUCCESS")

    assert record.result == 7
    assert_ran_once(record, "SUCCESS")


@pytest.mark.parametrize("name", ["wait_for", "wait_for_then_fail"])
def test_result_backend_lost_while_running(
    redis_url: str, storage_url: str, tmp_path: Path, name: str
) -> None:
    """A task whose outcome the result backend does not take has failed, as Celery sees it."""
    results, go = tmp_path / "results", tmp_path / "go"
    results.mkdir()
    with (
        workers.scene(
            redis_url, storage_url, tmp_path, result_backend=f"file://{results}"
        ) as scene,
        scene.worker(),
    ):
        task_id = scene.send(name, str(go))
        scene.eventually(task_id, workers.is_started)
        shutil.rmtree(results)

        go.touch()
        record = scene.eventually(task_id, workers.is_finished)

    assert record.state == "FAILURE"
    assert record.exception_type == "FileNotFoundError"
    assert record.exception_message is not None
    assert str(results) in record.exception_message
    assert_ran_once(record, "FAILURE")


def assert_ran_once(record: TaskRecord, state: str) -> None:
    workers.assert_consistent(record)
    assert workers.runs(record) == [(0, state, record.exception_type)]
