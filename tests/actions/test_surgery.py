"""Surgery with a real worker: chains that go on, chords whose body runs, forks.

Long because one worker for each backend, which is dear, serves all operations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import chain, chord, group

from fullresult.actions.errors import CannotResend
from fullresult.record import NOT_RUN, TaskQuery, TaskRecord
from tests.kit.backend_contract import CELERYS, OFTEN, PATIENCE, kinds, scene_on
from tests.kit.workers import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celery.result import AsyncResult

    from tests.kit.workers import Scene

_BACKENDS = kinds(
    *("redis", *OFTEN),
    rarely=("fullresult-postgresql", "fullresult-mongodb", *CELERYS[1:]),
)


@pytest.fixture(scope="module", params=_BACKENDS)
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


def failed(running: Scene, result: AsyncResult[Any], gate: Path) -> str:
    """Wait until the workflow of *result* has failed at the gate; the id of a task that did."""
    with pytest.raises(Exception, match="shut"):
        result.get(timeout=PATIENCE)
    found: list[str] = []

    def broken() -> list[str]:
        records = running.full.find(state="FAILURE", name="scenario.pass_if_open")
        found[:] = [record.task_id for record in records if str(gate) in record.args]
        return found

    assert until(broken)
    return found[0]


def fates(plan: Any) -> list[str]:
    return [part.fate for part in plan.parts]


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
    assert second.problem is not None
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

    running.full.surgery(step).run()

    record = running.eventually(body.id, lambda record: record.state == "SUCCESS")
    assert record.result == [20, 4]
    assert instead_of(running, step).result == 2


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
