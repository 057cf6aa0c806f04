"""The pages of failures, and what is dealt with on the others."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from urllib.parse import quote

import pytest
from celery import Celery

from fullresult.insight import counts, search
from tests.kit import browsing
from tests.kit.browsing import Browser

EVIL = "<script>alert(1)</script>\x1b[2J"


def group_of(app: Celery, task_id: str) -> str:
    group = app.fullresult.get(task_id).fingerprint
    assert isinstance(group, str)
    return group


def test_the_page_lists_causes_with_a_link_to_each(app: Celery, browser: Browser) -> None:
    ids = browsing.failed(app, 3)
    group = group_of(app, ids[0])

    page = browser.get("/failures")

    assert page.status == 200
    assert "shop.charge ValueError: card declined open 3 3" in page.words
    assert any(link.endswith(f"/failure?id={group}") for link in page.links)


def test_what_is_typed_narrows_the_page_and_nonsense_is_said(app: Celery, browser: Browser) -> None:
    browsing.failed(app)

    assert "card declined" in browser.get("/failures?name=shop.*&since=2h&new=1h").words
    none = browser.get("/failures?name=other.*&since=2h").words
    assert "No failure is left to be dealt with. Only what failed since 2h was looked at." in none
    assert "No failure is recorded." in browser.get("/failures?name=other.*&all=on").words
    wrong = browser.get("/failures?since=yesteryear")
    assert (wrong.status, "yesteryear" in wrong.words) == (400, True)
    unknown = browser.get("/failures?new=4.2")
    assert (unknown.status, "no worker of the release" in unknown.words) == (400, True)


def test_a_cause_has_its_traceback_and_tasks(app: Celery, browser: Browser) -> None:
    (task_id,) = browsing.failed(app)

    page = browser.get(f"/failure?id={group_of(app, task_id)}&affected=amount")

    assert page.status == 200
    assert any(link.endswith(f"/task?id={task_id}") for link in page.links)
    assert "amount 1 values: 0.0 (1)" in page.words
    assert "1-nothing" not in page.words
    assert browser.get("/failure?id=1-nothing").status == 404


def test_a_cause_is_resolved_and_reopened(app: Celery, browser: Browser) -> None:
    (task_id,) = browsing.failed(app)
    path = f"/failure?id={group_of(app, task_id)}"

    resolved = browser.submit(browser.get(path).form("/failure"), do="resolve", note="mended")

    assert "is resolved" in resolved.words
    assert "mended" in resolved.words
    assert "No failure is left" in browser.get("/failures").words
    assert "resolved" in browser.get("/failures?all=on").words
    reopened = browser.submit(resolved.form("/failure"), do="reopen")
    assert "is open" in reopened.words


def test_a_cause_is_muted_until_a_time_to_come(app: Celery, browser: Browser) -> None:
    (task_id,) = browsing.failed(app)
    path = f"/failure?id={group_of(app, task_id)}"
    form = browser.get(path).form("/failure")

    past = browser.submit(form, do="mute", until="2h ago")
    nothing = browser.submit(browser.get(path).form("/failure"), do="explode")
    muted = browser.submit(browser.get(path).form("/failure"), do="mute", until="in 2d")

    assert (past.status, nothing.status, muted.status) == (400, 400, 200)
    assert "is muted" in muted.words


def test_a_task_leads_to_its_cause_and_to_what_was_sent_instead(
    app: Celery, browser: Browser
) -> None:
    (task_id,) = browsing.failed(app)
    new_id = str(app.fullresult.resend(task_id).id)
    browsing.ran(app, new_id, "shop.charge")

    page = browser.get(f"/task?id={task_id}")

    assert any(link.endswith(f"/failure?id={group_of(app, task_id)}") for link in page.links)
    assert "sent again → SUCCESS" in page.words


def test_a_tab_lists_and_counts_what_is_left(app: Celery, browser: Browser) -> None:
    old, left = browsing.failed(app, 2)
    app.fullresult.resend(old)

    page = browser.get("/?q=state:FAILURE")
    everything = browser.get("/?q=" + quote("state:FAILURE resent:any"))
    dealt_with = browser.get("/?q=" + quote("state:FAILURE resent:yes"))

    assert "Unresolved 1" in page.words
    assert [left in page.text, old in page.text] == [True, False]
    assert "Show it, too" in page.words
    assert "FAILURE 2" in everything.words
    assert "sent again → PENDING" in everything.words
    assert [left in dealt_with.text, old in dealt_with.text] == [False, True]
    assert browser.get("/?q=resent:perhaps").status == 400


def test_a_tab_of_many_that_are_dealt_with_is_filled_in(
    app: Celery, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No index tells what is dealt with: it may be a million."""
    monkeypatch.setattr(counts, "LOOKED_AT_ENDED", 3)
    monkeypatch.setattr(search, "AT_ONCE", 3)
    left, *rest = browsing.failed(app, 6)
    for task_id in rest:
        app.fullresult.resend(task_id)

    page = browser.get("/?q=state:FAILURE")
    (further,) = [link for link in page.links if "further=1" in link]

    assert "Unresolved 0+" in page.words
    assert "looked through: 3 so far" in page.words
    assert "No such task is recorded" not in page.words
    assert left in browser.get(further).text
    assert "FAILURE 6" in browser.get("/?q=" + quote("state:FAILURE resent:any")).words
    assert "looked through: 3 so far" in browser.get("/?q=resent:yes").words


def test_the_number_in_the_navigation_is_that_of_the_page(
    app: Celery, browser: Browser, tmp_path: Path
) -> None:
    (task_id,) = browsing.failed(app)
    with closing(connect(tmp_path / "memory.db")) as database, database:
        database.execute("UPDATE fullresult_task SET date_created = '2020-01-01T00:00:00.000'")

    assert numbers(app) == {"failures": "1"}  # It ended in the last day, whenever it began.

    app.fullresult.failures.mute(group_of(app, task_id))

    assert "No failure is left" in browser.get("/failures").words
    assert numbers(app) == {}


def numbers(app: Celery) -> dict[str, str]:
    # Of new pages: numbers are kept for some seconds.
    found: dict[str, str] = json.loads(browsing.entered(app).get("/counts").text)
    return found


def test_what_failed_may_say_anything(app: Celery, browser: Browser) -> None:
    (task_id,) = browsing.charge(app)
    browsing.ran(app, task_id, EVIL, ValueError(EVIL))

    group = group_of(app, task_id)
    pages = [browser.get(path) for path in ("/failures", f"/failure?id={group}", "/metrics")]

    assert [page.status for page in pages] == [200, 200, 200]
    assert not any("<script>alert" in page.text for page in pages[:2])
    assert f'fullresult_recent_failures{{group="{group}"' in pages[2].text
