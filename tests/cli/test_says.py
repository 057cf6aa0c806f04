"""What the commands tell a person about a task that waits, was sent, or cannot be mended."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from celery import Celery

from tests.kit.commands import run
from tests.kit.scheduling import app_on, later, overdue, sweep


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    """An app whose tasks with an ETA wait, and whose sweepers rescue after a minute."""
    url = f"sqlite:///{tmp_path / 'records.db'}"
    with app_on({"broker_url": "memory://"}, url, fullresult_rescue_after=60) as app:
        yield app


def timeline(app: Celery, task_id: str) -> list[str]:
    """What happened, in order, without the dates."""
    shown = run(app, "show", task_id).stdout.split("\nTimeline\n")[1].split("\n\n")[0]
    return [line.split("  ")[-1] for line in shown.splitlines()]


def test_the_timeline_of_a_waiting_task_begins_with_who_scheduled_it(app: Celery) -> None:
    later(app, "a")

    told = timeline(app, "a")

    assert told[0].startswith("scheduled by ")
    assert told[-1] == "due (ETA), as first scheduled"


def test_the_timeline_of_a_sent_task_tells_when_it_was_scheduled_due_and_sent(app: Celery) -> None:
    later(app, "a")
    app.fullresult.resend_scheduled("a")

    told = timeline(app, "a")

    assert told[0].startswith("scheduled by ")
    assert "sent to the broker" in told
    assert told[-1] == "due (ETA), as first scheduled"
    assert not any(moment.startswith("published") for moment in told)


def test_a_task_that_went_on_under_a_new_id_has_one_end(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"
    with app_on({"broker_url": "memory://"}, url, fullresult_schedule_new_id=True) as app:
        later(app, "a")
        app.fullresult.resend_scheduled("a")

        told = timeline(app, "a")

    assert [moment for moment in told if "SCHEDULED_SENT" in moment] == ["ended: SCHEDULED_SENT"]


def test_the_timeline_of_a_task_that_was_published_says_so(app: Celery) -> None:
    app.send_task("shop.charge", (7,), task_id="a")

    told = timeline(app, "a")

    assert told[0].startswith("published by ")


@pytest.mark.parametrize(
    ("eta", "at_once"), [("2020-01-31T14:00", True), ("now", True), ("2199-01-31T14:00", False)]
)
def test_reschedule_says_that_a_time_in_the_past_means_at_once(
    app: Celery, eta: str, at_once: bool
) -> None:
    later(app, "a")

    result = run(app, "reschedule", "a", "--eta", eta)

    assert result.exit_code == 0, result.output
    assert ("a sweeper sends it at once" in result.stdout) is at_once


def test_release_does_not_say_that_nothing_is_overdue_where_nothing_is_claimed(app: Celery) -> None:
    overdue(app, "a", by=timedelta(hours=2))

    result = run(app, "release", "--all", "--hours", "1", "--yes")

    assert result.exit_code == 0, result.output
    assert "Nothing is overdue and claimed for 1 h 00 m; claims of the last minute" in result.stderr


def test_what_is_rescued_is_named_by_the_id_that_people_know(
    app: Celery, caplog: pytest.LogCaptureFixture
) -> None:
    full = app.fullresult
    overdue(app, "a", by=timedelta(hours=1))
    earlier = full.storage.now() - timedelta(minutes=5)
    full.storage.claim_due(full.settings.namespace, earlier, "dead", 10)

    with caplog.at_level(logging.WARNING):
        sweep(full)

    assert "task a was claimed more than 0:01:00 ago" in caplog.text
