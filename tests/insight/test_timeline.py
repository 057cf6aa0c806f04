"""The life of a task is told once: the command and the page say the same of it."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from celery import Celery

from fullresult.insight.timeline import Step, timeline_of
from tests.kit import browsing
from tests.kit.browsing import Browser
from tests.kit.commands import run
from tests.kit.scheduling import app_on, later


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    """An app whose tasks with an ETA wait in the storage."""
    with app_on({"broker_url": "memory://"}, f"sqlite:///{tmp_path / 'records.db'}") as app:
        yield app


@pytest.fixture
def browser(app: Celery) -> Browser:
    return browsing.entered(app)


def published(app: Celery, task_id: str) -> None:
    app.send_task("shop.charge", (7,), task_id=task_id)


def periodic(app: Celery, task_id: str) -> None:
    app.send_task("shop.charge", (7,), task_id=task_id, headers={"celery_beat_task": True})


def waiting(app: Celery, task_id: str) -> None:
    later(app, task_id)


def sent(app: Celery, task_id: str) -> None:
    later(app, task_id)
    app.fullresult.resend_scheduled(task_id)


def cancelled(app: Celery, task_id: str) -> None:
    later(app, task_id)
    app.fullresult.cancel(task_id)


def succeeded(app: Celery, task_id: str) -> None:
    published(app, task_id)
    browsing.ran(app, task_id, "shop.charge")


def failed(app: Celery, task_id: str) -> None:
    published(app, task_id)
    browsing.ran(app, task_id, "shop.charge", ValueError("declined"))


LIVES: dict[Callable[[Celery, str], None], list[str]] = {
    published: ["published by ", "last heard of"],
    periodic: ["(periodic)", "last heard of"],
    waiting: ["scheduled by ", "due (ETA), as first scheduled", "last heard of"],
    sent: ["scheduled by ", "sent to the broker", "due (ETA), as first scheduled"],
    cancelled: ["scheduled by ", "ended"],
    succeeded: ["published by ", "attempt 1 started on w1@host", "attempt 1 ended"],
    failed: ["published by ", "attempt 1 started on w1@host", "attempt 1 ended"],
}


@pytest.mark.parametrize("live", LIVES, ids=lambda live: live.__name__)
def test_the_command_and_the_page_tell_the_same_steps(
    app: Celery, browser: Browser, live: Callable[[Celery, str], None]
) -> None:
    live(app, "a")

    steps = timeline_of(app.fullresult.get("a"))
    command = run(app, "show", "a").stdout
    page = browser.get("/task?id=a").words

    for told in LIVES[live]:
        assert any(told in step.text for step in steps), told
    for step in steps:
        state = f": {step.state}" if step.state else ""
        assert f"{step.text}{state}\n" in command
        assert f"{step.text}{state.replace(':', '')}" in page


def test_the_steps_are_in_the_order_of_time_with_the_waits_between(app: Celery) -> None:
    succeeded(app, "a")

    steps = timeline_of(app.fullresult.get("a"))

    assert [step.kind for step in steps] == ["published", "started", "ended"]
    assert steps[0].after is None
    assert [step.after for step in steps[1:]] == [
        steps[1].at - steps[0].at,
        steps[2].at - steps[1].at,
    ]


def test_a_task_that_was_cancelled_is_not_due_in_the_future(app: Celery) -> None:
    cancelled(app, "a")

    steps = timeline_of(app.fullresult.get("a"))

    assert [step.kind for step in steps] == ["scheduled", "ended"]


def test_a_task_whose_retry_waits_was_published_and_not_scheduled(app: Celery) -> None:
    published(app, "a")
    known = app.fullresult.get("a")
    due = known.date_created + timedelta(hours=1)

    steps = timeline_of(
        replace(
            known,
            message=known.message._replace(eta=due),
            outcome=known.outcome._replace(state="RETRY", retries=1),
        )
    )

    assert [step.kind for step in steps][:2] == ["published", "last heard of"]
    assert steps[-1] == Step(due, "due", "due (ETA)", after=steps[-1].after)


def test_a_task_that_was_sent_again_was_not_published_by_who_published_the_first(
    app: Celery,
) -> None:
    failed(app, "a")
    again = app.fullresult.resend("a")

    (first, *_) = timeline_of(app.fullresult.get(again.id))

    assert first.text == "published as a re-send"


# --- on the page


def test_what_a_task_did_not_return_is_not_called_none(app: Celery, browser: Browser) -> None:
    failed(app, "failed")
    published(app, "waits")
    published(app, "done")
    browsing.ran(app, "done", "shop.charge")

    assert "It returned nothing: it ended FAILURE." in browser.get("/task?id=failed").words
    assert "None yet: the task has not ended." in browser.get("/task?id=waits").words
    assert 'class="ended failure"' in browser.get("/task?id=failed").text


def test_the_page_of_a_task_lives_until_it_has_ended(app: Celery, browser: Browser) -> None:
    published(app, "a")
    page = browser.get("/task?id=a")
    (address,) = re.findall(r'data-live="([^"]+)"', page.text)
    browsing.ran(app, "a", "shop.charge")

    part = browser.get(html.unescape(address))

    assert "attempt 1 ended SUCCESS" in part.words
    assert "<h1 " in part.text
    assert "<html" not in part.text
    assert "data-live" not in browser.get("/task?id=a").text


def test_all_members_of_a_group_are_counted_whatever_their_roots(
    app: Celery, browser: Browser
) -> None:
    for number in range(4):
        app.send_task("shop.charge", (number,), task_id=f"{number}", group_id="g")

    page = browser.get("/task?id=2")

    assert "4 members of its group" in page.words
    assert "it is one of a group" in page.words
