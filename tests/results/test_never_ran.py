"""With `fullresult://`, what never ran because another task failed says so, and is no failure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from celery import chain, chord

from fullresult.record import NOT_RUN
from tests.kit.backend_contract import OFTEN, PATIENCE, kinds, scene_on
from tests.kit.workers import has_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.workers import Scene


@pytest.fixture(
    scope="module", params=kinds(*OFTEN, rarely=("fullresult-postgresql", "fullresult-mongodb"))
)
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("never-ran")
    with scene_on(request.param, request, directory) as scene, scene.worker(concurrency=2):
        yield scene


def test_the_steps_after_one_that_failed(running: Scene) -> None:
    double, spoil = running.task("double"), running.task("spoil")
    last = chain(double.s(1), spoil.s(), double.s(), double.s()).apply_async()

    with pytest.raises(ValueError, match="spoilt 2"):
        last.get(timeout=PATIENCE)

    failed = running.eventually(last.parent.parent.id, has_state("FAILURE"))
    for never in (last, last.parent):
        record = running.eventually(never.id, has_state(NOT_RUN))
        assert (record.state, record.name, record.executions) == (NOT_RUN, "scenario.double", ())
        assert record.exception_message == "spoilt 2"
        assert record.notes["args"] == f"never published: task {failed.task_id} failed"
        assert never.state == "FAILURE"
    ids = [failed.task_id, last.id, last.parent.id]
    assert running.full.count(state="FAILURE", task_ids=ids) == 1
    assert running.full.count(state=NOT_RUN, task_ids=ids) == 2


def test_the_body_of_a_chord_with_a_member_that_failed(running: Scene) -> None:
    header = [running.task("double").s(1), running.task("spoil").s(1)]
    body = chord(header, running.task("total").s()).apply_async()

    with pytest.raises(Exception, match="spoilt 1"):
        body.get(timeout=PATIENCE)

    record = running.eventually(body.id, has_state(NOT_RUN))
    assert (record.state, record.name) == (NOT_RUN, "scenario.total")
    assert record.notes["args"].startswith("never published: ")


def test_the_end_of_a_chain_that_is_a_member_of_a_chord(running: Scene) -> None:
    double, spoil = running.task("double"), running.task("spoil")
    broken = chain(spoil.s(3), double.s())
    body = chord([double.s(1), broken], running.task("total").s()).apply_async()

    with pytest.raises(Exception, match="spoilt 3"):
        body.get(timeout=PATIENCE)

    _, end = body.parent.results
    for each in (body, end):
        running.eventually(each.id, has_state(NOT_RUN))


def test_a_step_that_is_published_after_all_has_its_own_message(running: Scene) -> None:
    double, spoil = running.task("double"), running.task("spoil")
    last = chain(spoil.s(4), double.s()).apply_async()
    with pytest.raises(ValueError, match="spoilt 4"):
        last.get(timeout=PATIENCE)

    running.send("double", 21, task_id=last.id)

    record = running.eventually(last.id, has_state("SUCCESS"))
    assert (record.args, record.result) == ([21], 42)
    assert running.app.AsyncResult(last.id).get(timeout=PATIENCE) == 42


def test_a_failure_that_is_reported_from_outside_is_a_failure(running: Scene) -> None:
    running.app.backend.mark_as_failure("outside", ValueError("by hand"))

    assert running.full.get("outside").state == "FAILURE"  # type: ignore[union-attr]
