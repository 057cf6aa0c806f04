"""What records say of the tasks that a real `celery beat` sends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from fullresult import TaskRecord
from tests.kit import servers, workers
from tests.kit.workers import ROOT, SETTINGS, Scene

MODULE = "tests.apps.scenario_canvas_app"
SCHEDULE: dict[str, dict[str, Any]] = {
    "every moment": {"task": "scenario.add", "schedule": 0.5, "args": [40, 2]},
    "with options": {
        "task": "scenario.tsum",
        "schedule": 0.5,
        "kwargs": {"numbers": [1, 2]},
        "options": {"priority": 3, "headers": {"tenant": "acme"}},
    },
    "retried": {"task": "scenario.retried_add", "schedule": 0.5, "args": [1, 1]},
    "with a child": {"task": "scenario.parent", "schedule": 0.5, "args": [1]},
    "of another program": {"task": "elsewhere.work", "schedule": 0.5, "args": []},
}


@pytest.fixture(scope="module")
def running(storage_kind: str, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """A worker, and a beat that has sent each entry of the schedule at least once."""
    with workers.running(
        storage_kind, request, module=MODULE, concurrency=2, beat_schedule=SCHEDULE
    ) as scene:
        _beat_until(scene, lambda: all(_ended(scene, str(e["task"])) for e in SCHEDULE.values()))
        yield scene


def _sent(scene: Scene, name: str) -> list[TaskRecord]:
    """Its records, not of tasks published by other tasks."""
    found = scene.full.find(name=name, order="oldest")
    return [record for record in found if record.parent_id is None]


def _ended(scene: Scene, name: str) -> bool:
    """A record is there before its message is: beat must not be stopped between the two."""
    return any(workers.is_finished(record) for record in _sent(scene, name))


def _beat_until(scene: Scene, condition: object) -> None:
    files = [f"--schedule={scene.directory}/schedule", f"--pidfile={scene.directory}/beat.pid"]
    command = [sys.executable, "-m", "celery", "-A", MODULE, "beat", "--loglevel=INFO", *files]
    log = scene.directory / "beat.log"
    with log.open("wb") as output:
        beat = subprocess.Popen(
            servers._launch(command, ""),
            cwd=ROOT,
            env={**os.environ, SETTINGS: json.dumps(scene.settings)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        assert workers.until(condition), log.read_text()  # type: ignore[arg-type]
    finally:
        beat.terminate()
        beat.wait(30)


def _first(scene: Scene, name: str) -> TaskRecord:
    record = _sent(scene, name)[0]
    return scene.eventually(record.task_id, workers.is_finished)


def test_a_periodic_task(running: Scene) -> None:
    """It says that beat sent it, and is a task like any other."""
    record = _first(running, "scenario.add")

    assert record.periodic
    assert (record.state, record.result) == ("SUCCESS", 42)
    assert (record.args, record.parent_id, record.root_id) == ([40, 2], None, record.task_id)
    assert record.date_published is not None


def test_options_of_a_schedule_entry(running: Scene) -> None:
    record = _first(running, "scenario.tsum")

    assert record.periodic
    assert record.headers["tenant"] == "acme"
    assert (record.priority, record.kwargs, record.result) == (3, {"numbers": [1, 2]}, 3)


def test_a_periodic_task_that_is_retried(running: Scene) -> None:
    """Every attempt is of the one periodic task."""
    record = _first(running, "scenario.retried_add")

    assert record.periodic
    assert (record.state, record.retries, record.result) == ("SUCCESS", 1, 2)
    assert [execution.state for execution in record.executions] == ["RETRY", "SUCCESS"]


def test_what_a_periodic_task_publishes_is_not_periodic(running: Scene) -> None:
    record = _first(running, "scenario.parent")

    children = [running.full.get(child) for child in record.children]

    assert len(children) == 3
    assert not any(child.periodic for child in children if child)


def test_a_task_that_beat_does_not_have(running: Scene) -> None:
    """Beat sends by name what some other program knows; this worker does not."""
    record = _first(running, "elsewhere.work")

    assert (record.periodic, record.state) == (True, "FAILURE")
    assert record.exception_type == "celery.exceptions.NotRegistered"


def test_a_periodic_task_names_its_entry(running: Scene) -> None:
    """So that of several entries with one task each has a last run of its own."""
    found = {entry.name: entry for entry in running.full.periodic()}

    for name in SCHEDULE:
        last = found[name].last_run
        assert last is not None, name
        assert (last.periodic_entry, found[name].last_run_by) == (name, "entry")
        assert last.name == SCHEDULE[name]["task"]


def test_a_periodic_task_that_is_triggered(running: Scene) -> None:
    """A worker runs it as it runs what beat sends."""
    task_id = running.full.trigger("with options").id

    record = running.eventually(task_id, workers.is_finished)

    assert (record.state, record.result, record.priority) == ("SUCCESS", 3, 3)
    assert (record.triggered, record.periodic_entry) == (True, "with options")


def test_a_task_that_beat_did_not_send_is_not_periodic(running: Scene) -> None:
    task_id = running.send("add", 1, 1)

    assert not running.eventually(task_id, workers.is_finished).periodic
