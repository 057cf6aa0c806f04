"""Surgery with a real worker: chains that go on, chords whose body runs, forks.

Long because one worker for each backend, which is dear, serves all operations.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest
from celery import chain, chord, group

from fullresult import FullResult
from fullresult.actions.errors import CannotResend
from fullresult.record import NOT_RUN, TaskQuery, TaskRecord
from tests.kit.backend_contract import PATIENCE, scene_on
from tests.kit.surgery import BACKENDS, failed, fates, ready, stopped
from tests.kit.workers import ROOT, SETTINGS, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.workers import Scene


@pytest.fixture(scope="module", params=BACKENDS)
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("surgery")
    with scene_on(request.param, request, directory) as scene, scene.worker(concurrency=2):
        yield scene


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """While this file is missing, `pass_if_open` fails."""
    return tmp_path / "gate"


def test_a_chain_goes_on_where_it_broke(running: Scene, gate: Path) -> None:
    double, passing = running.task("double"), running.task("pass_if_open")
    last = chain(double.s(1), passing.s(str(gate)), double.s(), double.s()).apply_async()
    failed(running, last, gate)
    step = last.parent.parent
    gate.touch()
    surgery = running.full.surgery(step.id)

    plan = surgery.plan()
    new = surgery.run()

    assert (plan.how, fates(plan), plan.problem) == ("resume", ["again", "first", "first"], None)
    assert running.eventually(last.id, lambda record: record.state == "SUCCESS").result == 8
    assert running.app.AsyncResult(last.id).get(timeout=PATIENCE) == 8
    again = running.eventually(new.id, lambda record: record.state == "SUCCESS")
    assert (again.retry_of, again.args) == (step.id, [2, str(gate)])
    second = running.full.surgery(step.id, "resume").plan()
    assert second.problem == (
        f"task {step.id} was sent again and the workflow went on to {last.id}, which is SUCCESS"
    )
    assert second.instead == f"fork {step.id}"


def test_the_body_of_a_chord_runs_with_old_and_new_results(running: Scene, gate: Path) -> None:
    double, passing = running.task("double"), running.task("pass_if_open")
    header = [double.s(1), passing.s(5, str(gate)), double.s(3), passing.s(7, str(gate))]
    body = chord(header, running.task("tell").s()).apply_async()
    failed(running, body, gate)
    members = [each.id for each in body.parent.results]
    for member in members:
        running.eventually(member, lambda record: record.state in ("SUCCESS", "FAILURE"))
    gate.touch()
    ready(running, members[1])
    surgery = running.full.surgery(members[1])

    plan = surgery.plan()
    result = surgery.run()

    assert plan.how == "heal"
    assert fates(plan) == ["kept", "again", "kept", "again", "first"]
    assert result.id == body.id
    record = running.eventually(body.id, lambda record: record.state == "SUCCESS")
    assert record.result == [2, 5, 6, 7]
    assert running.app.AsyncResult(body.id).get(timeout=PATIENCE) == [2, 5, 6, 7]
    twice = running.full.surgery(members[1], "heal")
    assert twice.plan().problem is not None
    with pytest.raises(CannotResend, match=r"was sent already|has not ended"):
        twice.run()
    assert len(running.eventually(body.id, lambda record: record.executions).executions) == 1
    assert running.full.find(task_ids=members, state="FAILURE", unresolved=True) == []
    assert [instead_of(running, member).result for member in (members[1], members[3])] == [5, 7]


def instead_of(running: Scene, task_id: str) -> TaskRecord:
    """The record of the task that was sent in place of this one."""
    record = running.full.get(task_id)
    assert record is not None
    assert record.resent_as is not None
    return running.eventually(record.resent_as, lambda record: record.state == "SUCCESS")


def test_a_member_that_is_a_chain_broken_in_the_middle(running: Scene, gate: Path) -> None:
    double, passing = running.task("double"), running.task("pass_if_open")
    broken = chain(double.s(1), passing.s(str(gate)), double.s())
    body = chord([double.s(10), broken], running.task("tell").s()).apply_async()
    step = failed(running, body, gate)
    gate.touch()
    running.eventually(body.parent.results[0].id, lambda record: record.state == "SUCCESS")

    ready(running, step)
    running.full.surgery(step).run()

    record = running.eventually(body.id, lambda record: record.state == "SUCCESS")
    assert record.result == [20, 4]
    assert instead_of(running, step).result == 2


def test_a_body_that_is_a_group_runs_under_new_ids(running: Scene, gate: Path) -> None:
    passing, body = (
        running.task("pass_if_open"),
        [running.task("total").s(), running.task("tell").s()],
    )
    header = [running.task("double").s(1), passing.s(5, str(gate))]
    chord(header, group(body)).apply_async()
    broken = stopped(running, gate)
    gate.touch()
    surgery = running.full.surgery(broken, "heal")

    plan = surgery.plan()
    surgery.run()

    old = [part.task_id for part in plan.parts if part.fate == "first"]
    assert [part.is_new for part in plan.parts] == [False, True, True, True]
    results = []
    for task_id in old:
        again = TaskQuery(retry_of=task_id)
        assert until(partial(running.full.count, again))
        (new,) = running.full.find(retry_of=task_id)
        results.append(running.eventually(new.task_id, lambda record: record.state == "SUCCESS"))
    assert [record.result for record in results] == [7, [2, 5]]
    second = running.full.surgery(broken, "heal").plan()
    assert f"({old[0]}) of the body was sent as {results[0].task_id}" in str(second.problem)


@pytest.mark.parametrize("asked", ["the member", "the body"])
def test_a_chord_in_a_chord(running: Scene, gate: Path, asked: str) -> None:
    double, passing = running.task("double"), running.task("pass_if_open")
    inner = chord([double.s(1), passing.s(5, str(gate))], running.task("total").s())
    body = chord([inner, double.s(3)], running.task("tell").s()).apply_async()
    broken = stopped(running, gate)
    gate.touch()
    surgery = running.full.surgery(broken if asked == "the member" else body.id, "heal")

    plan = surgery.plan()
    surgery.run()

    told = [(part.fate, part.depth) for part in plan.parts]
    assert told == [("kept", 1), ("again", 1), ("kept", 0), ("first", 1), ("first", 1)]
    record = running.eventually(body.id, lambda record: record.state == "SUCCESS")
    assert record.result == [7, 6]


def test_two_processes_that_heal_at_once_run_the_body_once(running: Scene, gate: Path) -> None:
    double, passing = running.task("double"), running.task("pass_if_open")
    header = [double.s(1), passing.s(5, str(gate)), passing.s(7, str(gate))]
    body = chord(header, running.task("tell").s()).apply_async()
    stopped(running, gate)
    gate.touch()
    one, two = (str(each.id) for each in body.parent.results[1:])
    celery = [sys.executable, "-m", "celery", "-A", running.module, "fullresult"]
    healing = [
        subprocess.Popen(
            [*celery, "heal", each, "--yes"],
            cwd=ROOT,
            env={**os.environ, SETTINGS: json.dumps(running.settings)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for each in (one, two, one)
    ]

    told = [each.communicate(timeout=PATIENCE)[1] for each in healing]

    assert sorted(each.returncode for each in healing) == [0, 1, 1], told
    record = running.eventually(body.id, lambda record: record.state == "SUCCESS")
    assert (record.result, len(record.executions)) == ([2, 5, 7], 1)
    assert [running.full.count(TaskQuery(retry_of=each)) for each in (one, two)] == [1, 1]


@pytest.mark.campaign
def test_a_chord_of_a_thousand_of_which_three_failed(running: Scene, gate: Path) -> None:
    double, passing = running.task("double"), running.task("pass_if_open")
    header: list[Any] = [double.s(number) for number in range(1_000)]
    for number in (0, 500, 999):
        header[number] = passing.s(number, str(gate))
    body = chord(header, running.task("tell").s()).apply_async()
    members = [each.id for each in body.parent.results]
    first = running.eventually(members[0], lambda record: record.group_id)
    ended = TaskQuery(group_id=first.group_id, state=("SUCCESS", "FAILURE"))
    assert until(lambda: running.full.count(ended) == 1_000, 4 * PATIENCE)
    stopped(running, gate)
    gate.touch()

    running.full.surgery(members[500]).run()

    record = running.eventually(body.id, lambda each: each.state == "SUCCESS", 4 * PATIENCE)
    assert record.result == [n if n in (0, 500, 999) else 2 * n for n in range(1_000)]


def healed_in_a_child(running: Scene, task_id: str) -> int:
    """The process, a child with an app of its own, that heals."""
    child = os.fork()
    if child == 0:
        try:
            app = import_module(running.module).make_app(running.settings)
            FullResult(app).surgery(task_id, "heal").run()
        finally:
            os._exit(0)
    return child


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(20))
def test_a_heal_that_is_killed_is_taken_over_and_the_body_runs_once(
    running: Scene, gate: Path, seed: int
) -> None:
    """Killed at any moment. A member whose message was not sent any more is PENDING: resend it."""
    double, passing = running.task("double"), running.task("pass_if_open")
    header = [passing.s(number, str(gate)) for number in range(3)]
    body = chord([double.s(1), *header], running.task("tell").s()).apply_async()
    broken = stopped(running, gate)
    gate.touch()
    child = healed_in_a_child(running, broken)
    time.sleep(random.Random(seed).uniform(0, 0.3))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    lost: dict[str, float] = {}

    def over() -> bool:
        record = running.full.get(body.id)
        if record is not None and record.state == "SUCCESS":
            return True
        try:
            surgery = running.full.surgery(broken, "heal")
            surgery.plan(take_over=True)
            surgery.run(take_over=True)
        except CannotResend as error:
            waiting = re.search(r"member (\S+) is PENDING", str(error))
            if waiting and time.monotonic() - lost.setdefault(waiting[1], time.monotonic()) > 3:
                running.full.resend(waiting[1])
                lost[waiting[1]] = time.monotonic()
        return False

    assert until(over)
    record = running.eventually(body.id, lambda record: record.state == "SUCCESS")
    assert (record.result, len(record.executions)) == ([2, 0, 1, 2], 1)
    assert record.published_again is None


def test_a_group_in_a_chain_then_two_steps(running: Scene, gate: Path) -> None:
    double, passing = running.task("double"), running.task("pass_if_open")
    header = group(double.s(), passing.s(str(gate)))
    steps = (double.s(1), header, running.task("total").s(), double.s())
    last = chain(*steps).apply_async()
    broken = failed(running, last, gate)
    gate.touch()
    group_id = running.full.get(broken).group_id  # type: ignore[union-attr]
    sound = running.full.find(group_id=group_id, name="scenario.double")
    running.eventually(sound[0].task_id, lambda record: record.state == "SUCCESS")

    ready(running, broken)
    running.full.surgery(broken).run()

    record = running.eventually(last.id, lambda record: record.state == "SUCCESS")
    assert record.result == 12
    assert running.app.AsyncResult(last.id).get(timeout=PATIENCE) == 12


def test_a_fork_runs_all_that_follows_under_new_ids(running: Scene) -> None:
    double = running.task("double")
    header = group(double.s(), double.s())
    last = chain(double.s(1), double.s(), header, running.task("total").s()).apply_async()
    assert last.get(timeout=PATIENCE) == 16
    old = running.eventually(last.id, lambda record: record.state == "SUCCESS")
    step = running.full.get(old.root_id).children[0]  # type: ignore[union-attr, arg-type]
    surgery = running.full.surgery(step, args=[100])

    plan = surgery.plan()
    new = surgery.run()

    assert plan.how == "fork"
    assert all(part.is_new and part.fate == "again" for part in plan.parts)
    first = running.eventually(new.id, lambda record: record.state == "SUCCESS")
    totals = TaskQuery(root_id=first.root_id, name="scenario.total")
    assert until(lambda: running.full.count(totals) > 1)
    (end,) = (r.task_id for r in running.full.find(totals) if r.task_id != last.id)
    assert last.id in {part.task_id for part in plan.parts}
    assert running.eventually(end, lambda record: record.state == "SUCCESS").result == 800
    assert running.full.get(last.id) == old
    assert last.get(timeout=PATIENCE) == 16


def test_what_never_ran_names_what_to_resume(running: Scene, gate: Path) -> None:
    last = chain(
        running.task("pass_if_open").s(1, str(gate)), running.task("double").s()
    ).apply_async()
    failed(running, last, gate)
    record = running.full.get(last.id)
    if record is None or record.state != NOT_RUN:
        pytest.skip("only fullresult:// is told of what never ran")

    plan = running.full.surgery(last.id).plan()

    assert plan.problem is not None
    assert plan.instead == f"resume {last.parent.id}"


def test_an_unknown_id(running: Scene) -> None:
    with pytest.raises(LookupError, match="nobody"):
        running.full.surgery("nobody").plan()
