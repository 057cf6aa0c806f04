"""Chords of all shapes with a real worker: the body gets what it would have got, or it is refused.

Each is healed twice, as what runs again fails once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from celery import chain, chord, group

from fullresult.record import TaskQuery
from tests.kit.backend_contract import PATIENCE, scene_on
from tests.kit.surgery import BACKENDS, fates, stopped
from tests.kit.workers import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.workers import Scene


@pytest.fixture(scope="module", params=BACKENDS)
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("surgery")
    settings = {"accept_content": ["json", "pickle"]}
    with (
        pytest.MonkeyPatch.context() as patch,
        scene_on(request.param, request, directory, **settings) as scene,
    ):
        patch.setenv("C_FORCE_ROOT", "1")  # else a worker of root's takes no pickles
        with scene.worker(concurrency=2):
            yield scene


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """While this file is missing, `pass_if_open` fails."""
    return tmp_path / "gate"


# Each of the signatures of `double`, `total` and `pass_if_open`, and what the workflow returns.
OFTEN: dict[str, tuple[Any, int]] = {
    "the body is a chain": (
        lambda d, t, p: chord([d(1), p(5)], chain(t(), d(), d())),
        28,
    ),
    "a member is a chain with a chord in it": (
        lambda d, t, p: chord([chain(d(1), group(d(), p()), t(), d()), d(3)], t()),
        18,
    ),
    "a member has two chords, of which the second broke": (
        lambda d, t, p: chord(
            [chain(group(d(1), d(2)), t(), group(d(), p()), t(), d()), d(3)], t()
        ),
        42,
    ),
}
RARELY: dict[str, tuple[Any, int]] = {
    "the body is a chord": (lambda d, t, p: chord([d(1), p(5)], chord([d(), d()], t())), 28),
    "the body has a chord in its chain": (
        lambda d, t, p: chord([d(1), p(5)], chain(t(), group(d(), d()), t())),
        28,
    ),
    "a group in the header": (lambda d, t, p: chord([d(1), group(d(2), p(5))], t()), 11),
    "one member": (lambda _, t, p: chord([p(5)], t()), 5),
    "four members": (lambda d, t, p: chord([p(1), d(2), p(3), d(4)], t()), 16),
    "chords three deep": (
        lambda d, t, p: chord([chord([chord([d(1), p(5)], t()), d(2)], t()), d(3)], t()),
        17,
    ),
    "two inner chords that broke": (
        lambda d, t, p: chord([chord([d(1), p(5)], t()), chord([d(1), p(6)], t())], t()),
        15,
    ),
    "a member that begins with a group": (
        lambda d, t, p: chord([chain(group(d(1), p(5)), t(), d()), d(3)], t()),
        20,
    ),
    "a member has two chords, of which the first broke": (
        lambda d, t, p: chord(
            [chain(d(1), group(d(), p()), t(), group(d(), d()), t(), d()), d(3)], t()
        ),
        54,
    ),
    "a member broke after a chord in it": (
        lambda d, t, p: chord([chain(d(1), group(d(), d()), t(), p(), d()), d(3)], t()),
        22,
    ),
    "a member broke before a chord in it": (
        lambda d, t, p: chord([chain(p(1), group(d(), d()), t(), d()), d(3)], t()),
        14,
    ),
    "a chord of chords in a chain": (
        lambda d, t, p: chain(d(2), chord([chord([d(), p()], t()), d()], t()), d()),
        40,
    ),
    "two groups in a chain": (
        lambda d, t, p: chain(d(1), group(d(), p()), group(t(), t()), t()),
        12,
    ),
}


def canvas(running: Scene, gate: Path, shape: Any) -> Any:
    d, t, passing = (running.task(name) for name in ("double", "total", "pass_if_open"))
    return shape(d.s, t.s, lambda *number: passing.s(*number, str(gate)))


@pytest.mark.parametrize(
    "shape", [*OFTEN, *(pytest.param(name, marks=pytest.mark.campaign) for name in RARELY)]
)
def test_the_body_gets_what_it_would_have_got(running: Scene, gate: Path, shape: str) -> None:
    shaped, right = {**OFTEN, **RARELY}[shape]
    result = canvas(running, gate, shaped).apply_async()
    first = stopped(running, gate)
    running.full.surgery(first, "heal").run()
    assert until(lambda: running.full.count(TaskQuery(retry_of=first, state="FAILURE")))
    second = stopped(running, gate)
    gate.touch()

    running.full.surgery(second, "heal").run()

    assert running.app.AsyncResult(result.id).get(timeout=PATIENCE) == right
    record = running.eventually(result.id, lambda record: record.state == "SUCCESS")
    assert (record.result, len(record.executions)) == (right, 1)


def test_a_chain_that_ends_in_a_group_is_no_member_that_is_healed(
    running: Scene, gate: Path
) -> None:
    """Celery gives its tasks the places of other members: one of two results would be lost."""
    double, passing = running.task("double"), running.task("pass_if_open")
    group_at_its_end = chain(double.s(1), group(double.s(), passing.s(str(gate))))
    chord([double.s(1), group_at_its_end], running.task("total").s()).apply_async()
    failures = TaskQuery(state="FAILURE", name="scenario.pass_if_open", order="newest", limit=1)

    def here() -> list[str]:
        found = running.full.find(failures)
        return [each.task_id for each in found if str(gate) in each.args]

    assert until(here)

    def refused() -> str:
        return str(running.full.surgery(here()[0], "heal").plan().problem)

    assert until(lambda: "have the same place in the chord" in refused()), refused()


def test_a_member_that_was_pickled_runs_again(running: Scene, gate: Path) -> None:
    double, passing = running.task("double"), running.task("pass_if_open")
    header = [double.s(1), passing.s([5, {"a": 6}], str(gate)).set(serializer="pickle")]
    body = chord(header, running.task("tell").s()).apply_async()
    broken = stopped(running, gate)
    gate.touch()
    surgery = running.full.surgery(broken)

    plan = surgery.plan()
    surgery.run()

    assert "Arguments that were pickled are sent as JSON has them" in str(plan.warnings)
    record = running.eventually(body.id, lambda record: record.state == "SUCCESS")
    assert record.result == [2, [5, {"a": 6}]]


@pytest.mark.campaign
def test_a_fork_with_other_arguments_through_chords_in_chords(running: Scene) -> None:
    """All that follows runs under new ids; what ran stays as it was, in record and backend."""
    d, t = running.task("double").s, running.task("total").s
    inner = chord([d(), d()], t())
    last = chain(d(1), d(), chord([inner, d()], t()), d()).apply_async()
    assert last.get(timeout=PATIENCE) == 48
    old = running.eventually(last.id, lambda record: record.state == "SUCCESS")
    first = running.full.get(old.root_id)  # type: ignore[arg-type]
    assert first is not None
    surgery = running.full.surgery(first.children[0], args=[100])

    plan = surgery.plan()
    new = surgery.run()

    assert set(fates(plan)) == {"again"}
    assert all(part.is_new for part in plan.parts)
    root = running.eventually(new.id, lambda record: record.state == "SUCCESS").root_id
    end = TaskQuery(root_id=root, name="scenario.double", state="SUCCESS", order="newest")

    def ends() -> list[Any]:
        return [r for r in running.full.find(end) if r.result == 2400 and r.task_id != last.id]

    assert until(lambda: len(ends()) == 1)
    assert running.full.get(last.id) == old
    assert last.get(timeout=PATIENCE) == 48
