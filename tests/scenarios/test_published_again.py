"""An id that is published a second time: each run is kept, with the arguments that it had."""

from __future__ import annotations

import uuid

from tests.kit.workers import Scene, has_state, until


def test_arguments_and_result_are_those_of_the_last_run(running: Scene) -> None:
    task_id = str(uuid.uuid4())
    running.send("add", 1, 2, task_id=task_id)
    running.final(task_id, "SUCCESS")

    running.send("add", 10, 20, task_id=task_id)

    assert until(lambda: (found := running.full.get(task_id)) and found.result == 30)
    running.settle()
    record = running.eventually(task_id, has_state("SUCCESS"))
    assert (record.args, record.result) == ([10, 20], 30)
    assert [run.state for run in record.executions] == ["SUCCESS", "SUCCESS"]
    assert all(run.date_done for run in record.executions)
    assert not record.arguments_in_doubt


def test_a_run_that_fails_hides_no_earlier_success(running: Scene) -> None:
    """A success counts more than a failure, whichever is later; both are executions."""
    task_id = str(uuid.uuid4())
    running.send("add", 1, 2, task_id=task_id)
    running.final(task_id, "SUCCESS")

    running.send("add", 1, "x", task_id=task_id)

    assert until(lambda: len(running.full.get(task_id).executions) == 2)  # type: ignore[union-attr]
    running.settle()
    record = running.eventually(task_id, has_state("SUCCESS"))
    assert (record.args, record.result) == ([1, 2], 3)
    assert [run.state for run in record.executions] == ["SUCCESS", "FAILURE"]


def test_a_success_after_a_failure_has_its_own_arguments(running: Scene) -> None:
    task_id = str(uuid.uuid4())
    running.send("add", 1, "x", task_id=task_id)
    running.final(task_id, "FAILURE")

    running.send("add", 1, 2, task_id=task_id)

    record = running.final(task_id, "SUCCESS")
    assert (record.args, record.result) == ([1, 2], 3)
    assert [run.state for run in record.executions] == ["FAILURE", "SUCCESS"]
