"""A crontab in words says when Celery is due, whatever was written for it."""

from __future__ import annotations

import pytest
from celery import Celery
from celery.schedules import crontab

from fullresult.insight.cron_words import cron_words


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "every minute (UTC)"),
        ({"minute": "*/5"}, "every 5 minutes (UTC)"),
        ({"minute": "0,15,30,45"}, "every 15 minutes (UTC)"),
        ({"minute": 5}, "every hour at minute 5 (UTC)"),
        ({"minute": "10-12"}, "every hour at minutes 10 to 12 (UTC)"),
        ({"minute": 0, "hour": "*/2"}, "every 2 hours (UTC)"),
        ({"minute": 30, "hour": "*/2"}, "every 2 hours at minute 30 (UTC)"),
        ({"minute": 0, "hour": 5}, "at 05:00 every day (UTC)"),
        ({"minute": 0, "hour": "5,17"}, "at 05:00 and 17:00 every day (UTC)"),
        ({"minute": "*/15", "hour": "8-17"}, "every 15 minutes of hours 8 to 17 (UTC)"),
        ({"minute": "*/7", "hour": 3}, "at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 of hour 3"),
        ({"minute": 0, "hour": 5, "day_of_month": 1}, "at 05:00 on day 1 of the month (UTC)"),
        ({"minute": 0, "hour": 5, "day_of_week": 0}, "at 05:00 on Sunday (UTC)"),
        ({"minute": 0, "hour": 5, "day_of_week": "mon-fri"}, "at 05:00 on Monday to Friday (UTC)"),
        (
            {"minute": 0, "hour": 5, "day_of_week": "mon", "day_of_month": "1-7"},
            "at 05:00 on Monday if it is days 1 to 7 of the month (UTC)",
        ),
        (
            {"minute": 0, "hour": 0, "day_of_month": 31, "month_of_year": "1,12"},
            "at 00:00 on day 31 of the month in January and December (UTC)",
        ),
        ({"minute": "*/2", "day_of_week": "sat,sun"}, "every 2 minutes on Sunday and Saturday"),
    ],
    ids=str,
)
def test_a_crontab_in_words(fields: dict[str, str | int], words: str) -> None:
    app = Celery(set_as_current=False)

    assert cron_words(crontab(app=app, **fields)).startswith(words)


def test_the_zone_is_that_of_the_app() -> None:
    app = Celery(set_as_current=False)
    app.conf.timezone = "Europe/Berlin"

    assert cron_words(crontab(app=app, minute=0, hour=5)).endswith("(Europe/Berlin)")
