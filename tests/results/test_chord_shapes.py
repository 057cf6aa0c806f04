"""Every shape of canvas with one prefork child: whoever waits in it for a task waits for himself.

To the cases of `test_backend_canvas` come those in which a chord's size is not that of its header.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, group
from celery.exceptions import ChordError

from tests.kit.backend_contract import PATIENCE, WITH_WORKERS, scene_on
from tests.kit.workers import Scene, until
from tests.results.test_backend_canvas import (
    CASES,
    Case,
    Raises,
    Tasks,
    assert_comes_to,
    publish,
    witness,
)

Build = Callable[[Tasks], Any]
SHAPES: dict[str, Case] = dict(CASES)
"""All of them: each is published before the first is waited for."""


def shape(expected: Any, *, not_on: str = "database") -> Callable[[Build], Build]:
    """Register one more. Celery's database backend waits without a limit for most."""

    def register(build: Build) -> Build:
        SHAPES[build.__name__] = Case(build, expected, not_on)
        return build

    return register


class Applied:
    """What is applied in a way of its own."""

    def __init__(self, apply: Any) -> None:
        self.apply_async = apply


# --- Groups, chains and chords in a header


@shape([[4, 4], 18])
def a_chain_that_ends_in_a_group(t: Tasks) -> Any:
    return chord([chain(t.double(1), group(t.double(), t.double())), t.double(9)], t.tell())


@shape([[4, 4]])
def a_chain_that_ends_in_a_group_alone(t: Tasks) -> Any:
    return chord([chain(t.double(1), group(t.double(), t.double()))], t.tell())


@shape([[4, [8, 8]], 2])
def a_chain_that_ends_in_groups_in_groups(t: Tasks) -> Any:
    inner = chain(t.double(), group(t.double(), t.double()))
    return chord([chain(t.double(1), group(t.double(), inner)), t.double(1)], t.tell())


@shape([[4, 6], 2])
def a_chord_whose_body_is_a_group(t: Tasks) -> Any:
    body = group(t.double.si(2), t.double.si(3))
    return chord([chord(t.doubles(1, 2), body), t.double(1)], t.tell())


@shape([[[2, 4], 8], 2])
def chords_in_chords(t: Tasks) -> Any:
    inner = chord([chord(t.doubles(1, 2), t.tell()), t.double(4)], t.tell())
    return chord([inner, t.double(1)], t.tell())


@shape([[16, 16], 2])
def a_chain_of_chords_that_ends_in_a_group(t: Tasks) -> Any:
    first = group(t.double(), t.double())
    steps = chain(t.double(1), first, t.total(), group(t.double(), t.double()))
    return chord([steps, t.double(1)], t.tell())


@shape([[8, 8], [12, 12], [16, 16]])
def every_member_ends_in_a_group(t: Tasks) -> Any:
    members = (chain(t.double(n), group(t.double(), t.double())) for n in (2, 3, 4))
    return chord([*members], t.tell())


# --- Headers that are made while they are sent


@shape([2 * n for n in range(9)])
def a_generator(t: Tasks) -> Any:
    return chord((t.double(n) for n in range(9)), t.tell())


@shape([2 * n for n in range(9)])
def a_group_of_a_generator(t: Tasks) -> Any:
    return chord(group(t.double(n) for n in range(9)), t.tell())


@shape(24)
def a_generator_of_chains(t: Tasks) -> Any:
    return chord((chain(t.double(n), t.double()) for n in range(4)), t.total())


# --- What is added


@shape(30)
def members_that_add_one_each(t: Tasks) -> Any:
    return chord([t.add_to_chord(n) for n in (1, 2, 3, 4)], t.total())


@shape(12)
def members_of_a_generator_that_add_one_each(t: Tasks) -> Any:
    return chord((t.add_to_chord(n) for n in range(4) if n != 2), t.total())


@shape(3 + 6 + 2)
def a_member_that_adds_a_chord(t: Tasks) -> Any:
    return chord([t.add_chord_to_chord(3), t.double(1)], t.total())


# --- Runs


@shape([[2, 4], [2, 4], [2, 4]])
def a_frozen_chord_that_is_applied_thrice(t: Tasks) -> Any:
    frozen = chord(t.doubles(1, 2), t.tell())
    frozen.freeze()

    def apply() -> Any:
        return Runs([_run(frozen) for _ in range(3)])

    return Applied(apply)


@shape([[[4, 4], 6], [[4, 4], 6]])
def a_frozen_chord_with_a_group_that_is_applied_twice(t: Tasks) -> Any:
    frozen = chord([chain(t.double(1), group(t.double(), t.double())), t.double(3)], t.tell())
    frozen.freeze()

    def apply() -> Any:
        return Runs([_run(frozen) for _ in range(2)])

    return Applied(apply)


class Runs:
    """The results of several runs, each at its end."""

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def get(self, timeout: float) -> list[Any]:  # noqa: ARG002  (as results have it)
        return self._values


def _run(frozen: Any) -> Any:
    result = frozen.apply_async()
    value = result.get(timeout=PATIENCE)
    result.forget()  # The next run has the same ids.
    return value


# --- Failures


@shape(Raises(ChordError, "spoilt 1"))
def a_generator_one_of_which_fails(t: Tasks) -> Any:
    return chord((t.spoil(n) if n == 1 else t.double(n) for n in range(4)), t.tell())


@shape(Raises(ChordError, "spoilt 2"))
def a_task_of_a_group_that_ends_a_chain_fails(t: Tasks) -> Any:
    return chord([chain(t.double(1), group(t.double(), t.spoil())), t.double(9)], t.tell())


@shape(Raises(ChordError, "spoilt 1"), not_on="database redis")
def a_chain_fails_before_the_group_that_ends_it(t: Tasks) -> Any:
    """Redis counts the group once, and waits for its two tasks for ever."""
    return chord([chain(t.spoil(1), group(t.double(), t.double())), t.double(9)], t.tell())


@shape(Raises(ChordError, "spoilt 1"), not_on="database redis")
def a_chord_in_a_header_fails_whose_body_is_a_group(t: Tasks) -> Any:
    """Redis tells no one of the inner chord's failure."""
    body = group(t.double.si(2), t.double.si(3))
    return chord([chord([t.spoil(1), t.double(2)], body), t.double(1)], t.tell())


@shape(Raises(ChordError, "spoilt 1"), not_on="database redis")
def chords_in_chords_of_which_the_innermost_fails(t: Tasks) -> Any:
    inner = chord([chord([t.spoil(1), t.double(2)], t.tell()), t.double(4)], t.tell())
    return chord([inner, t.double(1)], t.tell())


@shape(Raises(ValueError, "spoilt 1"), not_on="database redis")
def a_chain_fails_before_a_group(t: Tasks) -> Any:
    """Redis has the failure under the group's id, and who waits asks for its tasks."""
    return chain(t.spoil(1), t.double(), group(t.double(), chain(t.double(), t.double())))


# --- The tests


@pytest.fixture(scope="module", params=WITH_WORKERS)
def scene(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("chord-shapes")
    settings = {"result_chord_retry_interval": 0.2}
    with (
        scene_on(request.param, request, directory, **settings) as scene,
        scene.worker(concurrency=1),
    ):
        yield scene


@pytest.fixture(scope="module")
def started(scene: Scene) -> dict[str, Any]:
    return publish(scene, SHAPES)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
def test_a_shape(scene: Scene, started: dict[str, Any], name: str) -> None:
    assert_comes_to(scene, started.get(name), SHAPES[name])


def test_who_waits_for_a_chord_gets_to_know_which_error_a_member_raised(scene: Scene) -> None:
    """And not only that the chord failed: parents are followed."""
    if witness(scene) == "database":
        pytest.skip("it looks for errors of parents before it waits, and not after")
    t = Tasks(scene)

    result = chord([t.fail_with_own.si(), t.double(1)], t.total()).apply_async()

    with pytest.raises(Exception, match="sold out") as caught:
        result.get(timeout=PATIENCE)
    assert type(caught.value).__name__ == "OrderError"


def test_an_errback_is_called_once_for_a_chord_in_a_chord(scene: Scene, tmp_path: Path) -> None:
    """`chord.link_error` links it to the bodies of both."""
    t, path = Tasks(scene), tmp_path / "noted"
    errback = t.leave_note.si(str(path), "called")
    inner = chord([t.spoil(1), t.double(1)], t.total().on_error(errback))

    result = chord([t.double(3), inner], t.total().on_error(errback)).apply_async()

    if witness(scene) == "fullresult":
        with pytest.raises(ChordError):
            result.get(timeout=PATIENCE, follow_parents=False)
    else:
        with pytest.raises(Exception, match="spoilt 1"):
            result.get(timeout=PATIENCE)
    # One child does one thing after the other.
    assert t.double(1).apply_async().get(timeout=PATIENCE) == 2
    assert path.read_text().split() == ["called"]


def test_the_body_of_a_chord_that_failed_has_the_errback_among_its_children(scene: Scene) -> None:
    """It never ran: its children are those of the member that let it fail."""
    if witness(scene) == "database":
        pytest.skip("a task of its own polls for the end of the header")
    t = Tasks(scene)

    result = chord([t.double(1), t.spoil(1)], t.total().on_error(t.tell())).apply_async()
    with pytest.raises(Exception, match="spoilt 1"):
        result.get(timeout=PATIENCE)

    assert until(lambda: result.children)
    (errback,) = result.children[0].children
    assert errback.get(timeout=PATIENCE) == result.id
