"""Whoever schedules is told, once, when nothing sends what is scheduled."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery

from fullresult import FullResult
from tests.kit.scheduling import app_on, later

MakeApp = Callable[..., Celery]
MINUTE = timedelta(minutes=1)


@pytest.fixture
def make(storage_url: str) -> Iterator[MakeApp]:
    with ExitStack() as stack:

        def make(**settings: Any) -> Celery:
            return stack.enter_context(app_on({"broker_url": "memory://"}, storage_url, **settings))

        yield make


def after_a_minute(app: Celery) -> None:
    """Schedule a task now, and another when the time to look for a sweeper has come."""
    later(app, f"first at {time.monotonic()}")
    app.fullresult.diverter._looked -= 61
    later(app, f"then at {time.monotonic()}")


def swept(full: FullResult, ago: timedelta) -> None:
    full.parts.schedule_storage.note_sweep(full.settings.namespace, full.storage.now() - ago)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record for record in caplog.records if record.levelno >= logging.WARNING]
    return [r.getMessage() for r in found if r.name == "fullresult.scheduling.diverter"]


def test_where_nothing_ever_swept_it_is_said_once(
    make: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make()

    for _ in range(3):
        after_a_minute(app)

    (line,) = told(caplog)
    assert "no sweeper sends the tasks scheduled for memory" in line
    assert "last seen: never" in line


def test_a_sweeper_that_went_away_is_missed(
    make: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make()
    swept(app.fullresult, 2 * MINUTE)

    after_a_minute(app)

    assert len(told(caplog)) == 1


def test_one_that_starts_together_with_its_publishers_is_given_time(
    make: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make()

    later(app, "one")
    later(app, "two")

    assert told(caplog) == []


@pytest.mark.parametrize(
    ("ago", "interval"), [(MINUTE / 2, "1s"), (5 * MINUTE, "10m")], ids=["often", "rarely"]
)
def test_one_that_is_at_work_as_often_as_it_is_set_to_is_not_missed(
    make: MakeApp, caplog: pytest.LogCaptureFixture, ago: timedelta, interval: str
) -> None:
    app = make(fullresult_sweep_interval=interval)
    swept(app.fullresult, ago)

    after_a_minute(app)

    assert told(caplog) == []
