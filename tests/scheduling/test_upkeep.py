"""What a sweeper does about claims that another left behind."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from celery import Celery

from fullresult.record import STARTED, Start, TaskRecord
from fullresult.record.schedule import Schedule
from fullresult.record.stamps import Attempt, Clock
from fullresult.recording.outcomes import outcome_of
from fullresult.scheduling.upkeep import Upkeep
from tests.kit.scheduling import app_on, claimed, overdue, waiting

LONG_AGO = timedelta(minutes=10)


@pytest.fixture
def app(storage_url: str) -> Iterator[Celery]:
    with app_on({"broker_url": "memory://"}, storage_url) as app:
        yield app


def upkeep_of(app: Celery) -> Upkeep:
    return Upkeep(app.fullresult.settings, app.fullresult.storage)


def left_behind(app: Celery, task_id: str, ago: timedelta = LONG_AGO, **options: int) -> Schedule:
    """A schedule whose sweeper died, so long ago, before it could mark it sent."""
    schedule = overdue(app, task_id, by=2 * LONG_AGO, **options)
    storage = app.fullresult.storage
    taken = storage.take_over(
        schedule.schedule_id, f"claim of {task_id}", storage.now() - ago, instead_of=None
    )
    assert taken
    found: Schedule = taken
    return found


def began(app: Celery, task_id: str, at: datetime, retries: int = 0) -> None:
    """A worker began to run it."""
    outcome = outcome_of(
        STARTED, Attempt(0, retries), Clock().moment(), worker="celery@host", date_started=at
    )
    start = Start(outcome.stamp, outcome.worker, at)
    app.fullresult.storage.write([TaskRecord(task_id, at, at, outcome=outcome, start=start)])


def test_what_has_begun_to_run_since_its_claim_was_sent(app: Celery) -> None:
    schedule = left_behind(app, "ran")
    left_behind(app, "did not run")
    assert schedule.date_claimed
    began(app, "ran", schedule.date_claimed)

    upkeep_of(app).do(lambda: None)

    assert claimed(app) == ["did not run"]
    assert app.fullresult.get("ran").state == "STARTED"
    assert app.fullresult.get("ran").date_published is not None


def test_a_run_from_before_the_claim_was_another(app: Celery) -> None:
    schedule = left_behind(app, "reused")
    assert schedule.date_claimed
    began(app, "reused", schedule.date_claimed - timedelta(milliseconds=1))

    upkeep_of(app).do(lambda: None)

    assert claimed(app) == ["reused"]


def test_a_run_of_another_attempt_was_another(app: Celery) -> None:
    left_behind(app, "retried")
    began(app, "retried", app.fullresult.storage.now(), retries=1)

    upkeep_of(app).do(lambda: None)

    assert claimed(app) == ["retried"]


def test_a_run_of_what_it_replaces_was_another(app: Celery) -> None:
    """By a worker's clock, which may be ahead of the storage's, that began after the claim."""
    left_behind(app, "replaced", replaced_task_nesting=1)
    began(app, "replaced", app.fullresult.storage.now())

    upkeep_of(app).do(lambda: None)

    assert claimed(app) == ["replaced"]


def test_of_two_schedules_of_one_task_none_is_taken_for_the_other(app: Celery) -> None:
    left_behind(app, "twice")
    app.send_task("shop.charge", (7,), task_id="twice", countdown=3600)
    began(app, "twice", app.fullresult.storage.now())

    upkeep_of(app).do(lambda: None)

    assert claimed(app) == ["twice"]
    assert waiting(app) == ["twice"]


def test_a_claim_of_just_now_is_left_to_its_sweeper(app: Celery) -> None:
    left_behind(app, "at work", ago=timedelta(seconds=30))
    began(app, "at work", app.fullresult.storage.now())

    upkeep_of(app).do(lambda: None)

    assert claimed(app) == ["at work"]


def test_what_ran_is_not_rescued(storage_url: str) -> None:
    broker = {"broker_url": "memory://"}
    with app_on(broker, storage_url, fullresult_rescue_after=300) as app:
        left_behind(app, "ran")
        left_behind(app, "did not run")
        began(app, "ran", app.fullresult.storage.now())

        upkeep_of(app).do(lambda: None)

        assert claimed(app) == []
        assert waiting(app) == ["did not run"]


def test_a_task_under_a_new_id_is_looked_for_there(storage_url: str) -> None:
    broker = {"broker_url": "memory://"}
    with app_on(broker, storage_url, fullresult_schedule_new_id=True) as app:
        schedule = left_behind(app, "first")
        assert schedule.new_task_id
        began(app, schedule.new_task_id, app.fullresult.storage.now())

        upkeep_of(app).do(lambda: None)

        assert claimed(app) == []
        first = app.fullresult.get("first")
        assert first.state == "SCHEDULED_SENT"
        assert first.result == {"new_task_id": schedule.new_task_id}
