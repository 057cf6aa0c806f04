"""What is overdue, told apart once: through the question, the command and the page alike."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from celery import Celery

from fullresult.insight.overdue import Kind, Overdue
from tests.kit import browsing
from tests.kit.browsing import Browser
from tests.kit.commands import run
from tests.kit.scheduling import altered, app_on, later, overdue

HOUR = timedelta(hours=1)
ELSEWHERE = "amqp://elsewhere/staging"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    """An app with one overdue task of each kind, called so, and one that is not due."""
    url = f"sqlite:///{tmp_path / 'records.db'}"
    with app_on({"broker_url": "memory://"}, url) as app:
        full = app.fullresult
        namespace, now = full.settings.namespace, full.storage.now()
        overdue(app, "claimed", 4 * HOUR)
        full.storage.claim_due(namespace, now - 3 * HOUR, "dead", 1)
        overdue(app, "being-sent", 4 * HOUR)
        full.storage.claim_due(namespace, now, "alive", 1)
        overdue(app, "unclaimed", 2 * HOUR)
        altered(app, "foreign", 2 * HOUR, namespace=ELSEWHERE)
        later(app, "to-come")
        yield app


@pytest.fixture
def browser(app: Celery) -> Browser:
    return browsing.entered(app)


def section(page: browsing.Page, task_id: str) -> str:
    """The part of the page that has this task."""
    (found,) = [part for part in page.text.split("<section>") if f"task?id={task_id}" in part]
    return found


def test_each_kind_is_told_apart(app: Celery) -> None:
    full = app.fullresult
    question = Overdue(full.storage, full.settings)

    found = question.by_kind(question.page(HOUR, None))

    assert {kind: [one.task_id for one in some] for kind, some in found.items()} == {
        Kind.CLAIMED: ["claimed"],
        Kind.BEING_SENT: ["being-sent"],
        Kind.UNCLAIMED: ["unclaimed"],
        Kind.FOREIGN: ["foreign"],
    }


def test_only_what_no_process_is_about_to_send_may_be_sent_by_hand(app: Celery) -> None:
    full = app.fullresult
    question = Overdue(full.storage, full.settings)

    found = [schedule.task_id for schedule in question.to_send(HOUR)]

    assert found == ["claimed", "unclaimed"]


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name)
def test_the_command_and_the_page_tell_each_kind_in_the_same_words(
    app: Celery, browser: Browser, kind: Kind
) -> None:
    told = f"1 task {kind.meaning}"

    command = run(app, "stale-scheduled", "--hours", "1")
    page = browser.get("/stale-scheduled?older=1h")

    assert told in command.stderr
    assert told in page.words


@pytest.mark.parametrize(
    ("task_id", "offered"),
    [
        ("claimed", ["send-now", "release"]),
        ("being-sent", []),
        ("unclaimed", ["send-now", "cancel"]),
        ("foreign", []),
    ],
)
def test_the_page_offers_only_what_may_be_done(
    browser: Browser, task_id: str, offered: list[str]
) -> None:
    part = section(browser.get("/stale-scheduled?older=1h"), task_id)

    assert re.findall(r'formaction="/([^"]+)"', part) == offered
    assert part.count('type="checkbox" name="key"') == bool(offered)


def test_what_is_being_sent_cannot_be_chosen_among_the_scheduled(browser: Browser) -> None:
    page = browser.get("/scheduled")

    chosen = re.findall(r'name="key" value="([^"]+)"', page.text)

    assert sorted(chosen) == ["claimed", "foreign", "to-come", "unclaimed"]
    assert "/task?id=being-sent" in page.links


ALWAYS = ("retry", "edit", "task", "why", "delete")
"""What the page of each task leads to."""


@pytest.mark.parametrize(
    ("task_id", "offered"),
    [
        ("claimed", ["send-now", "release"]),
        ("being-sent", []),
        ("unclaimed", ["reschedule", "cancel", "send-now"]),
        ("to-come", ["reschedule", "cancel", "send-now"]),
    ],
)
def test_the_page_of_a_task_offers_only_what_may_be_done(
    browser: Browser, task_id: str, offered: list[str]
) -> None:
    links = browser.get(f"/task?id={task_id}").links

    pages = [link[1:].partition("?")[0] for link in links if link.endswith(f"?id={task_id}")]
    assert [page for page in pages if page not in ALWAYS] == offered
