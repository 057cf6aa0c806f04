"""Workflows that broke at a gate, with a real worker, for tests of what goes on with them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit.backend_contract import CELERYS, OFTEN, PATIENCE, kinds
from tests.kit.workers import until

if TYPE_CHECKING:
    from pathlib import Path

    from celery.result import AsyncResult

    from fullresult.record import TaskRecord
    from tests.kit.workers import Scene

RARELY = (
    *("fullresult-postgresql", "fullresult-mongodb", "mongodb", *CELERYS[1:]),
    *("redis on rabbitmq", "fullresult-postgresql on rabbitmq"),
)
BACKENDS = kinds(*("redis", *OFTEN), rarely=RARELY)


def failed(running: Scene, result: AsyncResult[Any], gate: Path) -> str:
    """Wait until the workflow of *result* has failed at the gate; the id of a task that did."""
    with pytest.raises(Exception, match="shut"):
        result.get(timeout=PATIENCE)
    found: list[str] = []

    def broken() -> list[str]:
        found[:] = [each.task_id for each in _at(running, gate)]
        return found

    assert until(broken)
    return found[0]


def stopped(running: Scene, gate: Path, how: str = "heal") -> str:
    """The id of the task that failed last at the gate, once all can be done and nothing runs."""
    found: list[str] = []

    def settled() -> bool:
        here = _at(running, gate)
        found[:] = [each.task_id for each in here]
        if not here:
            return False
        # Of another test, a task may wait whose message was never sent.
        since = min(each.date_created for each in here) - timedelta(seconds=1)
        waiting = running.full.find(state=("PENDING", "STARTED"), since=since)
        return all(each.name == "celery.accumulate" for each in waiting)

    assert until(settled)
    ready(running, found[0], how)
    return found[0]


def _at(running: Scene, gate: Path) -> list[TaskRecord]:
    failures = running.full.find(state="FAILURE", name="scenario.pass_if_open")
    return [each for each in failures if str(gate) in each.args]


def ready(running: Scene, task_id: str, how: Any = "heal") -> None:
    """Wait until it can go on: a backend may have a task that polls for the members."""
    assert until(lambda: running.full.surgery(task_id, how).plan().problem is None)


def fates(plan: Any) -> list[str]:
    return [part.fate for part in plan.parts]
