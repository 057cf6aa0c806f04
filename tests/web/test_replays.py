"""The pages of replays: begun from a search, with its preview; watched, paused and undone."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from celery import Celery

from fullresult.actions.replays import MANY
from fullresult.record.replay import ACTIVE
from fullresult.scheduling import replay_window
from fullresult.web import acting
from fullresult.web.pages import replays
from tests.kit import browsing
from tests.kit.browsing import Browser, Page, SentForm
from tests.kit.heartbeats import confirming


def _forms(page: Page) -> list[SentForm]:
    return [each for each in page.forms if each.action.startswith("/replay?")]


def test_a_replay_begins_at_a_search_and_is_steered_from_its_page(
    app: Celery, browser: Browser
) -> None:
    browsing.failed(app, 3)
    retry = browser.get("/retry?q=state:FAILURE")
    (link,) = [each for each in retry.links if "replay-create" in each]

    preview = browser.get(link)
    assert "Replay 3 tasks?" in preview.words
    assert "ValueError 1-" in preview.words
    page = browser.submit(preview.form("/replay-create"), rate="0.5", name="<b>outage</b>")

    (replay,) = app.fullresult.replays.list()
    assert (replay.state, replay.rate, replay.canary) == ("CANARY", 0.5, 10)
    assert (replay.ratio, replay.minimum, replay.name) == (0.05, 50, "<b>outage</b>")
    assert "<b>outage</b>" not in page.text
    for do, state in [("pause", "PAUSED"), ("resume", "CANARY"), ("undo", "UNDONE")]:
        assert f'name="do" value="{do}"' in page.text
        form = next(each for each in page.forms if each.action.startswith("/replay?"))
        page = browser.submit(form, do=do)
        assert f"It is {state}" in page.words
    assert replay.replay_id in browser.get("/replays").text
    assert 'fullresult_replays{state="UNDONE"} 1.0' in browser.get("/metrics").text
    assert {entry.details["by"] for entry in app.fullresult.audit_log()} == {"web"}


def test_what_is_sent_is_what_was_shown(app: Celery, browser: Browser) -> None:
    """A task that fails after the preview is not sent."""
    browsing.failed(app, 2)
    form = browser.get("/replay-create?q=state:FAILURE").form("/replay-create")
    browsing.failed(app, 1)
    browser.submit(form, canary="", rate="1000")
    (replay,) = app.fullresult.replays.list()
    sweeper = app.fullresult.parts.new_sweeper()
    while app.fullresult.replays.get(replay.replay_id).state in ACTIVE:
        sweeper.sweep()
    sweeper.close()

    assert len(browsing.sent(app)) == 2


def test_one_is_undone_part_by_part_and_no_link_says_so_of_one_that_runs(
    app: Celery, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acting, "PATIENCE", 0.0)
    monkeypatch.setattr(replay_window, "_PORTION", 2)
    browsing.failed(app, 3)
    replay = app.fullresult.replays.create(state="FAILURE", rate=1000)
    sweeper = app.fullresult.parts.new_sweeper()
    for _ in range(2):
        sweeper.sweep()
    sweeper.close()
    assert app.fullresult.replays.get(replay.replay_id).taken == 3

    with confirming(app):
        page = browser.get(f"/replay?id={replay.replay_id}")
        page = browser.submit(_forms(page)[0], do="undo")
        first = page.words
        while "Go on undoing" in page.words:
            page = browser.submit(_forms(page)[0], do="undo")
    browsing.failed(app)
    running = app.fullresult.replays.create(state="FAILURE", rate=1)
    forged = browser.get(f"/replay?id={running.replay_id}&left=1&do=undo")

    assert ("Time was up" in first, "Go on undoing" in first) == (True, True)
    assert ("Time was up" in forged.words, "Go on undoing" in forged.words) == (False, False)
    assert "It is UNDONE" in page.words


@pytest.mark.parametrize(
    ("field", "value"),
    [("rate", "0"), ("rate", "fast"), ("rate", "nan"), ("percent", "500"), ("canary", "-1")],
)
def test_what_makes_no_sense_is_said(app: Celery, browser: Browser, field: str, value: str) -> None:
    browsing.failed(app, 1)
    form = browser.get("/replay-create?q=state:FAILURE").form("/replay-create")

    filled: dict[str, Any] = {field: value}
    page = browser.submit(form, **filled)

    assert page.status == 400
    assert app.fullresult.replays.list() == []


def test_without_a_search_and_for_an_unknown_id_there_is_a_sentence(browser: Browser) -> None:
    assert "search for tasks first" in browser.get("/replay-create").words
    assert browser.get("/replay-create?id=a").status == 400
    unknown = browser.get("/replay?id=%3Cb%3E")
    assert (unknown.status, "<b>" in unknown.text) == (404, False)


def test_of_many_the_first_are_looked_at_and_the_page_loads_the_rest(
    app: Celery, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replays, "_AT_ONCE", (2, 1))
    browsing.failed(app, 4)

    page = browser.get("/replay-create?q=state:FAILURE")

    (link,) = re.findall('data-why="([^"]*)"', page.text)
    part = browser.get(html.unescape(link))
    assert "Replay 2 tasks or more?" in page.words
    assert "of the oldest 1" in page.words
    assert "Replay 4 tasks?" in part.words
    assert "of the oldest" not in part.words
    assert "<form" not in part.text
    browser.submit(page.form("/replay-create"), canary="")
    assert len(app.fullresult.replays.list()) == 1


def test_to_retry_many_is_a_replay_or_at_once_if_one_says_so(app: Celery, browser: Browser) -> None:
    browsing.failed(app, MANY + 1)
    storage = app.fullresult.storage
    assert "Replay them" in browser.get("/retry?q=state:FAILURE").words  # no sweeper is there

    storage.note_sweep(app.fullresult.settings.namespace, storage.now())
    page = browser.get("/retry?q=state:FAILURE")

    assert f"Replay {MANY + 1} tasks?" in page.words
    assert "At 20.0 a second" in page.words
    (link,) = [each for each in page.links if "at_once" in each]
    assert f"Send {MANY + 1} tasks again?" in browser.get(link).words
