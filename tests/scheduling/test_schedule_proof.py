"""A run says which schedule its message was sent for: real workers and storages."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from fullresult.record import TaskRecord
from fullresult.record.executions import known_of_runs
from fullresult.record.stamps import Attempt, schedule_in
from fullresult.scheduling.schedule_events import ScheduleEvents
from fullresult.scheduling.upkeep import Upkeep
from tests.kit import workers
from tests.kit.scheduling import claimed, only, sweep, until, waiting
from tests.kit.workers import Scene

pytestmark = pytest.mark.slow

HOUR = 3600
LONG_AGO = timedelta(minutes=10)


@pytest.fixture(params=workers.storages("sqlite", "postgresql", "mongodb"))
def here(request: pytest.FixtureRequest, redis_url: str, tmp_path: Path) -> Iterator[Scene]:
    """An app whose workers send nothing by themselves."""
    settings: dict[str, Any] = {"fullresult_schedule_eta": True, "fullresult_sweeper": "off"}
    with contextlib.ExitStack() as stack:
        storage = stack.enter_context(workers.storage(request.param, request, tmp_path))
        yield stack.enter_context(workers.scene(redis_url, storage, tmp_path, **settings))


def make_due(here: Scene, task_id: str, by: timedelta = timedelta(seconds=1)) -> None:
    assert here.full.reschedule(task_id, here.full.storage.now() - by)


def claim_and_die(here: Scene) -> None:
    """A sweeper claims what is due, long ago, and is killed before it sends."""
    full = here.full
    at = full.storage.now() - LONG_AGO
    found = full.parts.schedule_storage.claim_due(full.settings.namespace, at, uuid4().hex, 10)
    assert found


def look_after(here: Scene) -> None:
    Upkeep(here.full.settings, here.full.parts.schedule_storage).do(lambda: None)


def test_a_second_schedule_of_an_id_is_not_closed_by_the_run_of_the_first(here: Scene) -> None:
    """The first one's message waited in a busy queue, and ran after the second was claimed."""
    task_id = here.send("add", 1, 1, task_id="twice", countdown=HOUR)
    make_due(here, task_id)
    assert sweep(here.full).sent == 1
    here.send("add", 2, 2, task_id="twice", countdown=HOUR)
    make_due(here, task_id, LONG_AGO + timedelta(minutes=1))
    claim_and_die(here)

    with here.worker(pool="solo"):
        here.eventually(task_id, workers.has_state("SUCCESS"))
    look_after(here)

    assert claimed(here.app) == ["twice"]


def _returned(result: int, record: TaskRecord) -> bool:
    return bool(record.result == result)


def test_one_that_was_sent_and_not_marked_is_closed_once_it_ran(here: Scene) -> None:
    """Also the second of one id, whose record begins with an earlier run."""
    for number in (1, 2):
        task_id = here.send("add", number, number, task_id="twice", countdown=HOUR)
        make_due(here, task_id, LONG_AGO + timedelta(minutes=1))
        schedule = only(here.app, task_id)
        assert sweep(here.full).sent == 1
        with here.worker(pool="solo"):
            here.eventually(task_id, partial(_returned, 2 * number))
        # As it was before it was marked.
        moved = ScheduleEvents(here.full.settings).moved(schedule, schedule.due)
        here.full.parts.schedule_storage.schedule(schedule, moved)
        claim_and_die(here)
        before = claimed(here.app)

        look_after(here)

        assert (before, claimed(here.app)) == (["twice"], [])


def named(record: TaskRecord) -> set[tuple[int, str]]:
    """The attempts that ran, each with the schedule that it names."""
    return {
        (Attempt.in_stamp(run.stamp).retries, schedule_in(run.stamp))
        for run in known_of_runs(record.start, record.entries, record.outcome)
    }


def test_a_retry_that_waits_in_the_storage_names_its_own_schedule(here: Scene) -> None:
    """Celery copies the headers of the attempt before it."""
    task_id = here.send("retry_later", HOUR, countdown=HOUR)
    first = only(here.app, task_id)
    make_due(here, task_id)
    assert sweep(here.full).sent == 1

    with here.worker():
        until(lambda: waiting(here.app) == [task_id])
        second = only(here.app, task_id)
        make_due(here, task_id)
        assert sweep(here.full).sent == 1
        record = here.final(task_id, "SUCCESS", retries=1)

    assert named(record) == {(0, first.schedule_id), (1, second.schedule_id)}


def test_a_retry_that_does_not_wait_names_the_schedule_of_the_first_attempt(here: Scene) -> None:
    task_id = here.send("retry", 1, countdown=HOUR)
    first = only(here.app, task_id)
    make_due(here, task_id)
    assert sweep(here.full).sent == 1

    with here.worker():
        record = here.final(task_id, "SUCCESS", retries=1)

    assert named(record) == {(0, first.schedule_id), (1, first.schedule_id)}
