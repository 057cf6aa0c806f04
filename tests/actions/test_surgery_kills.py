"""A process that heals dies between each two of its steps: taken over, the body runs once."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from celery import chord
from kombu import Producer

from fullresult import FullResult
from fullresult.actions.errors import CannotResend
from fullresult.insight.surgery import healing
from tests.kit.backend_contract import PATIENCE, scene_on
from tests.kit.surgery import BACKENDS, stopped
from tests.kit.workers import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.workers import Scene

pytestmark = pytest.mark.campaign
KILLED, DONE = 9, 0
MOST = 60
"""More than there are steps."""


@pytest.fixture(scope="module", params=BACKENDS)
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("surgery")
    with scene_on(request.param, request, directory) as scene, scene.worker(concurrency=2):
        yield scene


def dying_before(number: int, *steps: tuple[Any, str]) -> None:
    """Have this process die before that call of all *steps*, methods of objects."""
    calls: list[str] = []

    def watched(owner: Any, name: str) -> None:
        call = getattr(owner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            if len(calls) == number:
                os._exit(KILLED)
            calls.append(name)
            return call(*args, **kwargs)

        setattr(owner, name, counted)

    for owner, name in steps:
        if hasattr(owner, name):
            watched(owner, name)


def healed_until(running: Scene, task_id: str, number: int) -> int:
    """How a child ended that healed, and died before that step."""
    child = os.fork()
    if child == 0:
        try:
            app = import_module(running.module).make_app(running.settings)
            full = FullResult(app)
            surgery = full.surgery(task_id, "heal")
            surgery.plan()
            storage, backend = full.storage, app.backend
            dying_before(
                number,
                *((storage, name) for name in ("keep_audit", "write", "forget_chord", "delete")),
                *((backend, name) for name in ("forget", "set_chord_size", "apply_chord")),
                *((backend, name) for name in ("store_result", "save_group")),
                (Producer, "publish"),
            )
            surgery.run()
            os._exit(DONE)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def go_on(running: Scene, task_id: str, body_id: str) -> None:
    """As a person would: take over, and resend a member whose message was never sent."""
    lost: dict[str, float] = {}
    said: list[str] = []

    def over() -> bool:
        record = running.full.get(body_id)
        if record is not None and record.state == "SUCCESS":
            return True
        surgery = running.full.surgery(task_id, "heal")
        is_open = surgery.plan(take_over=True).takes_over  # One that has ended is left to run.
        problem = surgery.plan(take_over=is_open).problem
        if problem is None:
            with suppress(CannotResend):
                surgery.run(take_over=is_open)
            return False
        said.append(problem)
        waiting = re.search(r"member (\S+) is PENDING", problem)
        if waiting and time.monotonic() - lost.setdefault(waiting[1], time.monotonic()) > 3:
            running.full.resend(waiting[1])
            lost[waiting[1]] = time.monotonic()
        return False

    assert until(over, 4 * PATIENCE), list(dict.fromkeys(said))


def test_each_step_of_a_heal(
    running: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(healing, "_SOON", timedelta(seconds=10))
    double, passing = running.task("double"), running.task("pass_if_open")
    for number in range(MOST):
        gate = tmp_path / f"gate{number}"
        header = [double.s(1), passing.s(5, str(gate)), passing.s(7, str(gate))]
        body = chord(header, running.task("tell").s()).apply_async()
        broken = stopped(running, gate)
        gate.touch()

        ended = healed_until(running, broken, number)
        go_on(running, broken, body.id)

        record = running.eventually(body.id, lambda record: record.state == "SUCCESS")
        assert (record.result, len(record.executions)) == ([2, 5, 7], 1), number
        log = [each.outcome for each in reversed(running.full.audit_log(task_id=broken))]
        # A beginning is there before anything is sent; an end, if its process reached it.
        assert log[0] == "begun", (number, log)
        assert log.count("done") <= 1, (number, log)
        if ended == DONE:
            break
        assert ended == KILLED, number
    else:
        pytest.fail("it never came to its end")
    assert number > 5
