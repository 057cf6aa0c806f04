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


def began(
    app: Celery,
    task_id: str,
    of: Schedule | None,
    *,
    retries: int = 0,
    at: datetime | None = None,
) -> None:
    """A worker began to run it, from the message of this schedule; None: from another one."""
    at = at or app.fullresult.storage.now()
    moment = Clock().moment().of_delivery(of.schedule_id if of else "").of_worker("5f0e")
    outcome = outcome_of(
        STARTED, Attempt(0, retries), moment, worker="celery@host", date_started=at
    )
    start = Start(outcome.stamp, outcome.worker, at)
    app.fullresult.storage.write([TaskRecord(task_id, at, at, outcome=outcome, start=start)])


def test_a_schedule_whose_message_has_begun_to_run_was_sent(app: Celery) -> None:
    schedule = left_behind(app, "ran")
    left_behind(app, "did not run")
    began(app, "ran", schedule)

    upkeep_of(app).do(lambda: None)

    assert claimed(app) == ["did not run"]
    assert app.fullresult.get("ran").state == "STARTED"
    assert app.fullresult.get("ran").date_published is not None


def test_the_clock_of_the_worker_does_not_matter(app: Celery) -> None:
    schedule = left_behind(app, "ran")
    assert schedule.date_claimed
    began(app, "ran", schedule, at=schedule.date_claimed - timedelta(hours=1))

    upkeep_of(app).do(lambda: None)

    assert claimed(app) == []


def test_a_run_from_another_message_of_this_id_proves_nothing(app: Celery) -> None:
    """That of a schedule that is closed, of a re-send, or of an older version without the header.

    Even if it began after the claim: it may have waited in the queue.
    """
    left_behind(app, "reused")
    began(app, "reused", None)

    upkeep_of(app).do(lambda: None)

    assert claimed(app) == ["reused"]


def test_of_two_schedules_of_one_task_the_one_that_ran_is_closed(app: Celery) -> None:
    first = left_behind(app, "twice")
    app.send_task("shop.charge", (7,), task_id="twice", countdown=3600)
    began(app, "twice", first)

    upkeep_of(app).do(lambda: None)

    assert claimed(app) == []
    assert waiting(app) == ["twice"]


def test_a_retry_that_copied_the_header_proves_that_the_first_message_was_sent(
    app: Celery,
) -> None:
    first = left_behind(app, "retried")
    began(app, "retried", first, retries=1)

    upkeep_of(app).do(lambda: None)

    assert claimed(app) == []


def test_a_claim_of_just_now_is_left_to_its_sweeper(app: Celery) -> None:
    began(app, "at work", left_behind(app, "at work", ago=timedelta(seconds=30)))

    upkeep_of(app).do(lambda: None)

    assert claimed(app) == ["at work"]


def test_what_ran_is_not_rescued(storage_url: str) -> None:
    broker = {"broker_url": "memory://"}
    with app_on(broker, storage_url, fullresult_rescue_after=300) as app:
        began(app, "ran", left_behind(app, "ran"))
        left_behind(app, "did not run")

        upkeep_of(app).do(lambda: None)

        assert claimed(app) == []
        assert waiting(app) == ["did not run"]


def test_a_task_under_a_new_id_is_looked_for_there(storage_url: str) -> None:
    broker = {"broker_url": "memory://"}
    with app_on(broker, storage_url, fullresult_schedule_new_id=True) as app:
        schedule = left_behind(app, "first")
        assert schedule.new_task_id
        began(app, schedule.new_task_id, None)

        upkeep_of(app).do(lambda: None)

        assert claimed(app) == []
        first = app.fullresult.get("first")
        assert first.state == "SCHEDULED_SENT"
        assert first.result == {"new_task_id": schedule.new_task_id}
