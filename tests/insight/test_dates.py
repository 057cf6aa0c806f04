"""Dates and lengths of time: what one door reads every door reads, and to the same moment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import quote

import pytest
from celery import Celery

from fullresult.insight import dates
from tests.kit import browsing
from tests.kit.browsing import Browser
from tests.kit.commands import run
from tests.kit.scheduling import app_on, later, only

HOUR = timedelta(hours=1)
NOW = datetime(2026, 5, 5, 12, tzinfo=timezone.utc)
LEEWAY = timedelta(minutes=1)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    with app_on({"broker_url": "memory://"}, f"sqlite:///{tmp_path / 'records.db'}") as app:
        yield app


@pytest.fixture
def browser(app: Celery) -> Browser:
    return browsing.entered(app)


def utc(*date: int) -> datetime:
    return datetime(*date, tzinfo=timezone.utc)  # type: ignore[misc,arg-type]


ISO = {
    "2026-01-31T14:00Z": utc(2026, 1, 31, 14),
    "2026-01-31t14:00z": utc(2026, 1, 31, 14),
    "2026-01-31T14:00:05.123+02:00": utc(2026, 1, 31, 12, 0, 5, 123000),
    "2026-01-31 14:00+0000": utc(2026, 1, 31, 14),
    "20260131T140000Z": utc(2026, 1, 31, 14),
    "1970-01-01T00:00Z": utc(1970, 1, 1),
    "9999-01-01T00:00Z": utc(9999, 1, 1),
}
PAST: dict[str, datetime | timedelta] = {
    **ISO,
    "2h": -2 * HOUR,
    "2H": -2 * HOUR,
    " 2h ": -2 * HOUR,
    "2h ago": -2 * HOUR,
    "1d 2h AGO": -26 * HOUR,
    "90m": -1.5 * HOUR,
    "now": 0 * HOUR,
    "NOW": 0 * HOUR,
    "2hours": -2 * HOUR,
    "90 minutes ago": -1.5 * HOUR,
    "1 Day 2 hours": -26 * HOUR,
}
MOMENTS: dict[str, datetime | timedelta] = {
    **ISO,
    "in 2h": 2 * HOUR,
    "IN 2H": 2 * HOUR,
    "2h ago": -2 * HOUR,
    "in 3 days": 72 * HOUR,
    "now": 0 * HOUR,
}
NEVER = (
    *("", "soon", "2026", "20260131", "3600", "2026-13-01", "1960-01-01", "1969-12-31T23:59Z"),
    *("0001-01-01", "99999999w", "99999999w ago", "in 2x", "ago", "in", "2026-01-31T25:00", "٢٠٢٦"),
    *("2 months", "last week", "yesterday ago", "3 hourss", "in tomorrow"),
    "2026-01-31T14:00\x00",
)
NO_PAST = (*NEVER, "in 2h", "100y")
NO_MOMENTS = (*NEVER, "2h", "in 2h ago", "in 99999999w")


def meant(value: datetime | timedelta, now: datetime) -> datetime:
    return value if isinstance(value, datetime) else now + value


@pytest.mark.parametrize("text", PAST)
def test_a_point_in_time_is_read_alike_by_command_page_and_python(
    app: Celery, browser: Browser, text: str
) -> None:
    command = run(app, "list", "--since", text)
    page = browser.get(f"/?q={quote(f'since:{quoted(text)}')}")

    assert dates.past(text, NOW) == meant(PAST[text], NOW)
    assert command.exit_code == 0, command.output
    assert page.status == 200, page.words


@pytest.mark.parametrize("text", NO_PAST)
def test_what_is_no_point_in_time_is_refused_alike(
    app: Celery, browser: Browser, text: str
) -> None:
    command = run(app, "list", "--since", text)
    page = browser.get(f"/?q={quote(f'since:{quoted(text)}')}")

    with pytest.raises(ValueError, match=r"is no date|is before 1970-01-01"):
        dates.past(text, NOW)
    assert command.exit_code == 2
    assert page.status == 400
    assert refusal(command.stderr) == refusal(page.words)


@pytest.mark.parametrize("text", MOMENTS)
def test_a_due_time_is_read_alike_by_command_page_and_python(
    app: Celery, browser: Browser, text: str
) -> None:
    for task_id in ("command", "page", "python"):
        later(app, task_id)
    ask = browser.get("/reschedule?id=page").form("/reschedule")

    command = run(app, "reschedule", "command", "--eta", text)
    page = browser.submit(ask, eta=text)
    python = app.fullresult.reschedule("python", text)

    wanted = meant(MOMENTS[text], datetime.now(timezone.utc))
    assert command.exit_code == 0, command.output
    assert page.status == 200, page.words
    assert python
    for task_id in ("command", "page", "python"):
        assert abs(only(app, task_id).due - wanted) < LEEWAY


@pytest.mark.parametrize("text", NO_MOMENTS)
def test_what_is_no_due_time_is_refused_alike(app: Celery, browser: Browser, text: str) -> None:
    before = later(app, "a")
    ask = browser.get("/reschedule?id=a").form("/reschedule")

    command = run(app, "reschedule", "a", "--eta", text)
    page = browser.submit(ask, eta=text)
    with pytest.raises(ValueError, match=r"is no date|is before 1970-01-01"):
        app.fullresult.reschedule("a", text)

    assert command.exit_code == 2
    assert page.status == 400
    assert refusal(command.stderr) == refusal(page.words)
    assert only(app, "a") == before


@pytest.mark.parametrize("text", ["90m", "1H30M", "2d", " 2d ", "0.5h", "0s", "52w", "2 hours"])
def test_a_length_of_time_is_read_alike(app: Celery, browser: Browser, text: str) -> None:
    command = run(app, "stale", "--older-than", text)
    page = browser.get(f"/stale?older={quote(text)}")

    assert dates.length(text) >= timedelta(0)
    assert command.exit_code == 0, command.output
    assert page.status == 200, page.words


_NO_LENGTHS = ("soon", "-1h", "1h ago", "2x", "99999999w", "1" * 400, "in 2h", "3600", " 2 ", "1.5")


@pytest.mark.parametrize("text", _NO_LENGTHS)
def test_what_is_no_length_of_time_is_refused_alike(
    app: Celery, browser: Browser, text: str
) -> None:
    command = run(app, "stale", "--older-than", text)
    page = browser.get(f"/stale?older={quote(text)}")

    with pytest.raises(ValueError, match=r"not a duration|too long|has no unit") as refused:
        dates.length(text)
    assert command.exit_code == 2
    assert page.status == 400
    for told in (command.stderr, page.words):
        assert str(refused.value) in " ".join(told.split())


@pytest.fixture
def two_hours_ahead(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose local time is two hours ahead of UTC."""
    monkeypatch.setenv("TZ", "<+02>-2")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("two_hours_ahead")
def test_a_date_without_an_offset_is_local_on_a_terminal_and_utc_on_a_page_and_in_python(
    app: Celery, browser: Browser
) -> None:
    for task_id in ("command", "page", "python"):
        later(app, task_id)
    ask = browser.get("/reschedule?id=page").form("/reschedule")

    run(app, "reschedule", "command", "--eta", "2199-01-31T14:00")
    browser.submit(ask, eta="2199-01-31T14:00")
    app.fullresult.reschedule("python", "2199-01-31T14:00")

    assert only(app, "command").due == utc(2199, 1, 31, 12)
    assert only(app, "page").due == only(app, "python").due == utc(2199, 1, 31, 14)


@pytest.mark.usefixtures("two_hours_ahead")
def test_a_day_begins_where_it_is_typed(app: Celery, browser: Browser) -> None:
    evening = datetime(2026, 5, 5, 23, tzinfo=timezone.utc)  # Here it is the 6th.

    for read in (dates.past, dates.moment):
        assert read("Today", evening, None) == utc(2026, 5, 5, 22)
        assert read("today", evening) == utc(2026, 5, 5)
        assert read("yesterday", evening, None) == utc(2026, 5, 4, 22)
        assert read("tomorrow", evening) == utc(2026, 5, 6)
    assert run(app, "list", "--since", "yesterday", "--until", "tomorrow").exit_code == 0
    assert browser.get("/?q=since:yesterday").status == 200


@pytest.mark.usefixtures("two_hours_ahead")
def test_the_last_day_of_dates_is_shown_where_its_local_time_is_after_it(app: Celery) -> None:
    later(app, "a")
    app.fullresult.reschedule("a", "9999-12-31T23:00")

    shown = run(app, "show", "a")

    assert shown.exit_code == 0, shown.output
    assert "9999-12-31 23:00:00.000 +0000" in shown.stdout


def quoted(text: str) -> str:
    return '"' + text.replace("\x00", "\\u0000") + '"'


def refusal(told: str) -> str:
    """Which of the sentences it is."""
    return "too early" if "is before 1970-01-01" in told else "no date" * ("is no date" in told)
