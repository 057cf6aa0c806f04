"""Canvas, deep and nested, on every result backend: what `get` gives in the end, or raises.

All cases are published at once, and then waited for one by one: so they also run beside each
other. Redis's results are the truth where Celery's backends differ.

Long because all cases are published at once, which makes them one list.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import celery
import pytest
from celery import chain, chord, group
from celery.exceptions import ChordError
from celery.result import GroupResult

from tests.kit import workers
from tests.kit.backend_contract import PATIENCE, WITH_WORKERS, current, scene_on
from tests.kit.workers import Scene

SLOTS = 4


@dataclass(frozen=True)
class Raises:
    """What `get` raises: of this type, or of a subclass, its text with these words."""

    kind: type[Exception]
    words: str


@dataclass(frozen=True)
class Case:
    build: Callable[[Any], Any]
    """The canvas, of the tasks as signatures."""
    expected: Any
    not_on: str = ""
    """The kinds of backends that cannot do it."""
    since: tuple[int, ...] = ()
    """The version of Celery that mended it."""

    def is_possible(self, kind: str) -> bool:
        """True if Celery, and a backend of this *kind*, can do it."""
        return celery.VERSION[:3] >= self.since and kind not in self.not_on.split()


CASES: dict[str, Case] = {}


def case(expected: Any, *, not_on: str = "", since: tuple[int, ...] = ()) -> Callable[[Any], Any]:
    """Register a function that builds a canvas, with what it comes to."""

    def register(build: Callable[[Any], Any]) -> Callable[[Any], Any]:
        CASES[build.__name__] = Case(build, expected, not_on, since)
        return build

    return register


class Tasks:
    """Signatures of the scenario's tasks: `t.double(1)`, `t.double.si(1)`."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def __getattr__(self, name: str) -> Any:
        task = self._scene.task(name)

        class Signatures:
            si = staticmethod(task.si)

            def __call__(self, *args: Any, **kwargs: Any) -> Any:
                return task.s(*args, **kwargs)

        return Signatures()

    def doubles(self, *numbers: int) -> list[Any]:
        return [self.double(n) for n in numbers]


# --- Plain


@case(16)
def a_chain(t: Tasks) -> Any:
    return chain(t.double(2), t.double(), t.double())


@case(2**51)
def a_chain_of_fifty(t: Tasks) -> Any:
    return chain(t.double(2), *(t.double() for _ in range(49)))


@case([2, 4, 6])
def a_group(t: Tasks) -> Any:
    return group(t.doubles(1, 2, 3))


@case(12)
def a_chord(t: Tasks) -> Any:
    return chord(t.doubles(1, 2, 3), t.total())


@case(2)
def a_chord_of_one(t: Tasks) -> Any:
    return chord(t.doubles(1), t.total())


@case([2])
def a_chord_of_one_as_a_list(t: Tasks) -> Any:
    """The body gets a list, of one."""
    return chord(t.doubles(1), t.tell())


@case([])
def a_chord_of_none(t: Tasks) -> Any:
    return chord([], t.tell())


@case([])
def a_group_of_none(_: Tasks) -> Any:
    return group([])


@case(90)
def a_chord_of_ten(t: Tasks) -> Any:
    return chord(t.doubles(*range(10)), t.total())


@case("body")
def an_immutable_body(t: Tasks) -> Any:
    return chord(t.doubles(1, 2), t.tell.si("body"))


# --- Groups and chains in one another


@case([4, 8, 12, 16])
def a_group_of_groups(t: Tasks) -> Any:
    """Celery makes one group of it."""
    return group(
        group(chain(t.double(1), t.double()), chain(t.double(2), t.double())),
        group(chain(t.double(3), t.double()), chain(t.double(4), t.double())),
    )


@case([8, 16])
def a_group_of_chains(t: Tasks) -> Any:
    return group(chain(t.double(n), t.double(), t.double()) for n in (1, 2))


@case([4, 4])
def a_chain_that_ends_in_a_group(t: Tasks) -> Any:
    return chain(t.double(1), group(t.double(), t.double()))


@case(8)
def a_chain_with_a_group_in_the_middle(t: Tasks) -> Any:
    """Celery makes a chord of it."""
    return chain(t.double(1), group(t.double(), t.double()), t.total())


@case(32)
def a_chain_of_groups(t: Tasks) -> Any:
    """Each group's results are the next one's argument."""
    return chain(
        group(t.doubles(1, 3)),
        group(t.total(), t.total()),
        group(t.total(), t.total()),
        t.total(),
    )


@case([2, 4, 6, 8])
def a_group_within_a_group(t: Tasks) -> Any:
    return group(t.double(1), group(t.doubles(2, 3)), t.double(4))


# --- Chords in one another


@case(24)
def a_chord_of_chords(t: Tasks) -> Any:
    inner = chord(t.doubles(1, 2, 3), t.total())
    return chord([inner, inner.clone()], t.total())


@case(48)
def a_chord_of_chords_of_chords(t: Tasks) -> Any:
    def nested(depth: int) -> Any:
        if not depth:
            return t.double(3)
        return chord([nested(depth - 1), nested(depth - 1)], t.total())

    return nested(3)


@case(20)
def a_chord_of_groups(t: Tasks) -> Any:
    return chord([group(t.doubles(1, 2)), group(t.doubles(3, 4))], t.total())


@case(24)
def a_chord_of_chains(t: Tasks) -> Any:
    return chord([chain(t.double(n), t.double()) for n in (1, 2, 3)], t.total())


@case(16)
def a_chord_of_chains_that_end_in_chords(t: Tasks) -> Any:
    def one() -> Any:
        return chain(t.double(1), group(t.double(), t.double()), t.total())

    return chord([one(), one()], t.total())


@case(28)
def a_chord_of_different_members(t: Tasks) -> Any:
    return chord(
        [
            t.double(1),
            chain(t.double(1), t.double()),
            group(t.doubles(1, 2)),
            chord(t.doubles(1, 2), t.total()),
            chain(group(t.doubles(2, 3)), t.total()),
        ],
        t.total(),
    )


@case([12, 12])
def a_body_that_is_a_group(t: Tasks) -> Any:
    return chord(t.doubles(1, 2, 3), group(t.total(), t.total()))


@case(24)
def a_body_that_is_a_chain(t: Tasks) -> Any:
    return chord(t.doubles(1, 2, 3), chain(t.total(), t.double()))


@case(24)
def a_body_that_is_a_chord(t: Tasks) -> Any:
    return chord(t.doubles(1, 2, 3), chord([t.total(), t.total()], t.total()))


@case(48)
def a_chord_in_a_chain(t: Tasks) -> Any:
    return chain(chord(t.doubles(1, 2, 3), t.total()), t.double(), t.double())


@case(48)
def chords_one_after_another(t: Tasks) -> Any:
    return chain(
        chord(t.doubles(1, 2, 3), t.total()),
        chord([t.double(), t.double()], t.total()),
    )


@case(16)
def a_group_in_a_chord_in_a_chain(t: Tasks) -> Any:
    return chain(
        t.double(1),
        chord([group(t.double(), t.double()), t.double.si(2)], t.total()),
        t.tell(),
        group(t.tell()),
        t.total(),
        t.add(4),
    )


@case(144)
def a_chain_in_a_group_in_a_chord_in_a_chain(t: Tasks) -> Any:
    inner = group(chain(t.double(1), t.double()), chain(t.double(2), t.double()))
    return chain(
        chord([inner, chain(t.double(3), t.double())], t.total()),
        group(chain(t.double(), t.double()), t.double()),
        t.total(),
    )


# --- Errors in each place


@case(Raises(ValueError, "spoilt 2"))
def an_error_in_a_chain(t: Tasks) -> Any:
    return chain(t.double(1), t.spoil(), t.double())


@case(Raises(ValueError, "spoilt x"))
def an_error_at_the_start_of_a_chain(t: Tasks) -> Any:
    return chain(t.spoil("x"), t.double(), t.double(), t.double())


@case(Raises(ValueError, "spoilt x"))
def an_error_in_a_group(t: Tasks) -> Any:
    return group(t.double(1), t.spoil("x"), t.double(2))


@case(Raises(ChordError, "spoilt x"))
def an_error_in_a_header(t: Tasks) -> Any:
    return chord([t.double(1), t.spoil("x"), t.double(2)], t.total())


@case(Raises(ChordError, "spoilt"))
def errors_in_every_member(t: Tasks) -> Any:
    return chord([t.spoil(n) for n in range(5)], t.total())


@case(Raises(ValueError, r"spoilt \[2, 4\]"))
def an_error_in_a_body(t: Tasks) -> Any:
    return chord(t.doubles(1, 2), t.spoil())


@case(Raises(ChordError, "spoilt x"), not_on="redis")
def an_error_in_a_header_in_a_header(t: Tasks) -> Any:
    """Redis tells no one of the inner chord's failure, and the outer one hangs."""
    return chord([chord([t.double(1), t.spoil("x")], t.total()), t.double(2)], t.total())


@case(Raises(ChordError, "spoilt"))
def an_error_in_a_body_in_a_header(t: Tasks) -> Any:
    return chord([chord(t.doubles(1, 2), t.spoil()), t.double(2)], t.total())


@case(Raises(ChordError, "spoilt 2"))
def an_error_in_a_chain_in_a_header(t: Tasks) -> Any:
    return chord([chain(t.double(1), t.spoil(), t.double()), t.double(2)], t.total())


@case(Raises(ChordError, "spoilt x"))
def an_error_at_the_start_of_a_chain_in_a_header(t: Tasks) -> Any:
    return chord([chain(t.spoil("x"), t.double(), t.double()), t.double(2)], t.total())


@case(Raises(ChordError, "spoilt x"))
def an_error_in_a_group_in_a_header(t: Tasks) -> Any:
    return chord([group(t.double(1), t.spoil("x")), t.double(2)], t.total())


@case(Raises(ChordError, "spoilt x"))
def an_error_in_a_chord_in_a_chain(t: Tasks) -> Any:
    return chain(chord([t.double(1), t.spoil("x")], t.total()), t.double(), t.double())


@case(Raises(Exception, "spoilt x"), since=(5, 7))
def an_error_before_a_chord_in_a_chain(t: Tasks) -> Any:
    return chain(t.spoil("x"), group(t.double(), t.double()), t.total())


@case(Raises(Exception, "spoilt x"))
def an_error_in_a_header_whose_body_is_a_group(t: Tasks) -> Any:
    return chord([t.double(1), t.spoil("x")], group(t.total(), t.total()))


@case(Raises(ChordError, "spoilt x"))
def an_error_in_a_header_whose_body_is_a_chain(t: Tasks) -> Any:
    return chord([t.double(1), t.spoil("x")], chain(t.total(), t.double()))


@case(Raises(ChordError, "OrderError|sold out"))
def an_error_of_ones_own_in_a_header(t: Tasks) -> Any:
    return chord([t.double(1), t.fail_with_own()], t.total())


@case(Raises(ChordError, "WorkerLost|Worker exited"))
def a_header_member_that_kills_its_process(t: Tasks) -> Any:
    return chord([t.double(1), t.die()], t.total())


@case(Raises(ChordError, "TimeLimitExceeded"))
def a_header_member_beyond_its_time(t: Tasks) -> Any:
    """Told twice: by the main process, and by what is left of the other."""
    return chord([t.double(1), t.exceed()], t.total())


@case(Raises(ChordError, "not JSON serializable|EncodeError"))
def a_header_member_whose_result_cannot_be_encoded(t: Tasks) -> Any:
    return chord([t.double(1), t.not_encodable()], t.total())


# --- Retries


@case(8)
def header_members_that_retry(t: Tasks) -> Any:
    return chord([t.retry(1), t.retry(2), t.retry(3), t.double(1)], t.total())


@case([2, 4])
def a_body_that_retries(t: Tasks) -> Any:
    return chord(t.doubles(1, 2), chain(t.tell(), t.tell()))


@case(Raises(ChordError, "attempt 3"))
def a_header_member_that_uses_up_its_retries(t: Tasks) -> Any:
    return chord([t.retry(9), t.double(1)], t.total())


# --- Replacement in each place


@case(12)
def a_chain_whose_middle_is_replaced(t: Tasks) -> Any:
    return chain(t.tell(3), t.replace_in_chain("task"), t.double())


@case(14)
def a_header_member_replaced_by_a_task(t: Tasks) -> Any:
    return chord([t.replace_with("task", 5), t.double(2)], t.total())


@case(44)
def a_header_member_replaced_by_a_chain(t: Tasks) -> Any:
    return chord([t.replace_with("chain", 5), t.double(2)], t.total())


@case(40)
def a_header_member_replaced_by_a_group(t: Tasks) -> Any:
    return chord([t.replace_with("group", 5), t.double(2)], t.total())


@case(40)
def a_header_member_replaced_by_a_chord(t: Tasks) -> Any:
    return chord([t.replace_with("chord", 5), t.double(2)], t.total())


@case(50)
def a_header_member_replaced_by_chords_of_chords(t: Tasks) -> Any:
    return chord([t.replace_with("chord of chords", 5), t.double(2)], t.total())


@case(14)
def a_header_member_replaced_twice(t: Tasks) -> Any:
    return chord([t.replace_with("replaced", 5), t.double(2)], t.total())


@case(72)
def every_header_member_replaced_by_a_chord(t: Tasks) -> Any:
    return chord([t.replace_with("chord", 5), t.replace_with("chord", 5)], t.total())


@case(Raises(ChordError, "spoilt 5"))
def a_header_member_replaced_by_what_fails(t: Tasks) -> Any:
    return chord([t.replace_with("failing", 5), t.double(2)], t.total())


@case(Raises(ChordError, "spoilt 5"), not_on="redis")
def a_header_member_replaced_by_a_failing_chord(t: Tasks) -> Any:
    """Redis tells no one of the inner chord's failure, and the outer one hangs."""
    return chord([t.replace_with("failing chord", 5), t.double(2)], t.total())


@case(Raises(ChordError, "spoilt 10"))
def a_header_member_replaced_by_a_failing_chain(t: Tasks) -> Any:
    return chord([t.replace_with("failing chain", 5), t.double(2)], t.total())


@case(36)
def a_body_replaced_by_a_chord(t: Tasks) -> Any:
    return chord(t.doubles(1, 2), t.replace_with.si("chord", 5))


@case([10, 12, 14])
def a_body_replaced_by_a_group(t: Tasks) -> Any:
    return chord(t.doubles(1, 2), t.replace_with.si("group", 5))


@case(72)
def a_chain_whose_start_is_replaced_by_a_chord(t: Tasks) -> Any:
    return chain(t.replace_with("chord", 5), t.double())


@case([10, 36])
def a_group_member_replaced_by_a_chord(t: Tasks) -> Any:
    return group(t.double(5), t.replace_with("chord", 5))


@case(16, not_on="database")
def a_header_member_that_adds_one(t: Tasks) -> Any:
    return chord([t.add_to_chord(4), t.double(2)], t.total())


# --- The tests


@pytest.fixture(scope="module", params=WITH_WORKERS)
def scene(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("backend-canvas")
    settings = {"result_chord_retry_interval": 0.2}
    with (
        scene_on(request.param, request, directory, **settings) as scene,
        scene.worker(concurrency=SLOTS),
    ):
        yield scene


def witness(scene: Scene) -> str:
    """Which kind of backend it is."""
    scheme = scene.settings["result_backend"].partition(":")[0]
    return scheme if scheme in ("redis", "fullresult") else "database"


def publish(scene: Scene, cases: dict[str, Case]) -> dict[str, Any]:
    """The results of *cases*, published one after the other, and none waited for."""
    # Before Celery 5.7 a chain that begins with a group is of the current app.
    with current(scene.app):
        return {
            name: known.build(Tasks(scene)).apply_async()
            for name, known in cases.items()
            if known.is_possible(witness(scene))
        }


def assert_comes_to(scene: Scene, result: Any, case: Case) -> None:
    """The canvas ends with the value or the error of its *case*; it does not hang.

    Without a *result* it was not published, and the test is skipped.
    """
    if result is None:
        pytest.skip(f"no such thing on {case.not_on}, or before Celery {case.since}")
    if isinstance(case.expected, Raises):
        # Not what a parent raised, which may be seen first.
        alone = {} if isinstance(result, GroupResult) else {"follow_parents": False}
        with pytest.raises(case.expected.kind, match=case.expected.words):
            result.get(timeout=PATIENCE, **alone)
    else:
        assert result.get(timeout=PATIENCE) == case.expected, scene.logs()


@pytest.fixture(scope="module")
def started(scene: Scene) -> dict[str, Any]:
    return publish(scene, CASES)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_canvas(scene: Scene, started: dict[str, Any], name: str) -> None:
    assert_comes_to(scene, started.get(name), CASES[name])


# --- Links and errbacks


def lines(path: Path) -> Counter[str]:
    return Counter(path.read_text().splitlines()) if path.exists() else Counter()


def test_a_link_of_a_chord(scene: Scene, tmp_path: Path) -> None:
    """It gets the body's result, once."""
    t, path = Tasks(scene), tmp_path / "noted"
    body = t.total()
    body.link(t.note_value(str(path)))

    assert chord(t.doubles(1, 2), body).apply_async().get(timeout=PATIENCE) == 6

    assert workers.until(lambda: lines(path) == {"6": 1})


def test_an_errback_of_a_body_whose_header_fails(scene: Scene, tmp_path: Path) -> None:
    """It is called once, however many members failed."""
    t, path = Tasks(scene), tmp_path / "noted"
    body = t.total().on_error(t.note_error(path=str(path)))

    result = chord([t.spoil(1), t.spoil(2), t.double(1)], body).apply_async()
    with pytest.raises(ChordError):
        result.get(timeout=PATIENCE, follow_parents=False)

    assert workers.until(lambda: sum(lines(path).values()) >= 1)
    assert chain(t.double(1), t.double()).apply_async().get(timeout=PATIENCE) == 4
    assert lines(path) == {"ChordError": 1}


def test_an_errback_of_a_body_that_fails(scene: Scene, tmp_path: Path) -> None:
    t, path = Tasks(scene), tmp_path / "noted"
    body = t.spoil().on_error(t.note_error(path=str(path)))

    with pytest.raises(ValueError, match="spoilt"):
        chord(t.doubles(1, 2), body).apply_async().get(timeout=PATIENCE)

    assert workers.until(lambda: lines(path) == {"ValueError": 1})


def test_an_errback_of_a_chain(scene: Scene, tmp_path: Path) -> None:
    t, path = Tasks(scene), tmp_path / "noted"
    errback = t.note_error(path=str(path))

    result = chain(t.double(1), t.spoil(), t.double()).apply_async(link_error=errback)
    with pytest.raises(ValueError, match="spoilt 2"):
        result.get(timeout=PATIENCE)

    assert workers.until(lambda: lines(path) == {"ValueError": 1})


# --- Parents


def test_the_parents_of_a_chain(scene: Scene) -> None:
    t = Tasks(scene)

    result = chain(t.double(1), t.double(), t.double()).apply_async()

    assert result.get(timeout=PATIENCE) == 8
    assert result.parent.get(timeout=PATIENCE) == 4
    assert result.parent.parent.get(timeout=PATIENCE) == 2
    assert result.parent.parent.parent is None


def test_the_parent_of_a_chord_is_its_header(scene: Scene) -> None:
    t = Tasks(scene)

    result = chord(t.doubles(1, 2, 3), t.total()).apply_async()

    assert result.get(timeout=PATIENCE) == 12
    assert result.parent.get(timeout=PATIENCE) == [2, 4, 6]
    assert result.parent.successful()
    assert result.parent.completed_count() == 3


def test_a_saved_canvas_is_found_again(scene: Scene) -> None:
    """A chain's ids as a tuple, kept by an application; its results from there."""
    t = Tasks(scene)
    result = chain(t.double(1), group(t.double(), t.double()), t.total()).apply_async()
    kept = result.as_tuple()

    again = celery.result.result_from_tuple(kept, app=scene.app)

    assert again.get(timeout=PATIENCE) == 8
    assert again.parent.get(timeout=PATIENCE) == [4, 4]


# --- Size


@pytest.mark.slow
@pytest.mark.parametrize("size", [150, pytest.param(1000, marks=pytest.mark.campaign)])
def test_a_large_chord(scene: Scene, size: int) -> None:
    if size == 1000 and witness(scene) == "database":
        pytest.skip("it asks for each of them each time")
    t = Tasks(scene)

    result = chord((t.double(n) for n in range(size)), t.total()).apply_async()

    assert result.get(timeout=100) == size * (size - 1)


@pytest.mark.slow
def test_many_chords_at_once(scene: Scene) -> None:
    t = Tasks(scene)

    results = [chord(t.doubles(n, n), t.total()).apply_async() for n in range(40)]

    assert [result.get(timeout=PATIENCE) for result in results] == [n * 4 for n in range(40)]


def test_a_body_runs_once(scene: Scene, tmp_path: Path) -> None:
    """Of many chords whose members end in the same moment."""
    t, path = Tasks(scene), tmp_path / "noted"

    results = [
        chord([t.tell(1) for _ in range(SLOTS)], t.leave_note.si(str(path), str(n))).apply_async()
        for n in range(20)
    ]
    for result in results:
        result.get(timeout=PATIENCE)

    assert lines(path) == {str(n): 1 for n in range(20)}
