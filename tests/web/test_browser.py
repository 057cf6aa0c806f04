"""The pages in a real Chromium, over real records: what a person sees and does.

With `FULLRESULT_SCREENSHOTS=1` it also writes the pictures of the documentation.

Long because one browser and one filled storage, which are dear, serve all pages.
"""

from __future__ import annotations

import math
import os
import random
import re
import shutil
from contextlib import suppress
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from celery import chain, chord
from playwright.sync_api import Error, expect, sync_playwright

from fullresult.config.passwords import hash_password
from fullresult.insight import search
from fullresult.record import FAILURE, SUCCESS
from fullresult.testing import samples
from fullresult.web import create_app
from fullresult.web.pages import tasks
from tests.conftest import missing
from tests.kit import browsing, oidc_provider, workers
from tests.kit.browsing import TOKEN
from tests.kit.heartbeats import begun, working
from tests.kit.scheduling import overdue

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from celery import Celery
    from playwright.sync_api import Browser, BrowserContext, BrowserType, Page
    from starlette.applications import Starlette

    from fullresult.record import TaskRecord

pytestmark = pytest.mark.slow
PICTURES = Path(__file__).parents[2] / "docs" / "images"
WANTED = bool(os.environ.get("FULLRESULT_SCREENSHOTS"))
PASSWORD = "correct horse"
USERS = {
    "ada": {"password": hash_password(PASSWORD, n=16), "role": "operator"},
    "bob": {"password": hash_password(PASSWORD, n=16), "role": "reader"},
}
_PATIENCE = 20_000
"""Milliseconds that the browser and a page may take where the machine has other work."""
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """An installed Chromium or, without one, Playwright's own."""
    with sync_playwright() as playwright:
        browser = _launched(playwright.chromium)
        expect.set_options(timeout=_PATIENCE)
        yield browser
        browser.close()


def _launched(chromium: BrowserType) -> Browser:
    def launch(path: str | None) -> Browser:
        # A container's root may not use its sandbox, nor much of /dev/shm.
        options = ["--no-sandbox", "--disable-dev-shm-usage"]
        return chromium.launch(executable_path=path, args=options)

    for path in filter(None, map(shutil.which, _NAMES)):
        with suppress(Error):
            return launch(path)
    try:
        return launch(None)
    except Error as error:
        missing(f"no Chromium can be started: {error.message.splitlines()[0]}")


@pytest.fixture(params=workers.storages("sqlite"))
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Celery]:
    with (
        workers.storage(request.param, request, tmp_path) as url,
        browsing.shop(url, beat_schedule=_PLAN, result_backend="fullresult://", **_NAMED) as app,
    ):
        yield app


_NAMED = {"task_default_queue": "orders"} if WANTED else {}
_PLAN = {"every morning": {"task": "shop.mail", "schedule": 86400.0, "args": ("ada@example.com",)}}


def pages_of(app: Celery) -> Starlette:
    return create_app(app.fullresult, users=USERS, token=TOKEN)


@pytest.fixture
def address(app: Celery) -> Iterator[str]:
    with browsing.served(pages_of(app)) as address:
        yield address


@pytest.fixture
def context(chromium: Browser, address: str) -> Iterator[BrowserContext]:
    """A browser without cookies, in which nothing goes wrong unseen, nor leaves this host."""
    context = chromium.new_context(base_url=address, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(_PATIENCE)
    wrong: list[str] = []
    context.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    context.on("weberror", lambda error: wrong.append(str(error.error)))
    context.on(
        "request",
        lambda asked: None if asked.url.startswith((address, "data:")) else wrong.append(asked.url),
    )
    yield context
    context.close()
    # What the browser says of answers such as 403 is no mistake of a page's.
    assert [text for text in wrong if "Failed to load resource" not in text] == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """Somebody who went to the start-up link."""
    page = context.new_page()
    page.goto(f"/?token={TOKEN}")
    return page


def log_in(page: Page, name: str, password: str = PASSWORD) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


BOTH = pytest.mark.parametrize("app", ["sqlite", "postgresql"], indirect=True)
"""Elsewhere campaigns do so, with all the other storages."""


@BOTH
def test_one_searches_opens_and_retries(app: Celery, page: Page) -> None:
    """With the suggestions of the search box, by keyboard."""
    (task_id,) = browsing.failed(app)
    app.send_task("shop.mail", ("ada",))
    browsing.sent(app)
    page.keyboard.press("/")
    page.keyboard.type("state:fail")
    page.get_by_role("option", name="state:FAILURE").wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("q=state"))
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name=task_id[:8]).click()
    expect(page.get_by_text("card declined").first).to_be_visible()

    page.get_by_role("link", name="Retry…", exact=True).click()
    page.get_by_role("button", name="Send 1 task again").click()
    page.wait_for_url(re.compile(r"/task\?id="))

    (message,) = browsing.sent(app)
    assert message["id"] in page.url
    assert app.fullresult.get(message["id"]).retry_of == task_id
    expect(page.get_by_text("Sent again from")).to_be_visible()


def test_one_selects_several_and_retries_them(app: Celery, page: Page) -> None:
    browsing.failed(app, 5)
    page.goto("/?q=state:FAILURE")
    page.get_by_label("Select all on this page").check()
    page.locator("tbody input").first.uncheck()
    page.get_by_role("button", name="Retry selected…").click()

    page.get_by_role("button", name="Send 4 tasks again").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("4 of 4 sent again")
    assert len(browsing.sent(app)) == 4


@BOTH
def test_one_retries_all_that_match(app: Celery, page: Page) -> None:
    browsing.failed(app, 60)
    page.goto("/?q=state:FAILURE")
    page.get_by_role("link", name="Retry all that match…").click()

    page.get_by_role("button", name="Send 60 tasks again").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("60 of 60 sent again")
    assert len(browsing.sent(app)) == 60


def test_one_edits_and_retries_and_is_told_what_is_wrong(app: Celery, page: Page) -> None:
    (task_id,) = browsing.failed(app)
    page.goto(f"/edit?id={task_id}")
    page.get_by_label("Keyword arguments").fill('{"colour": "red"}')
    page.get_by_role("button", name="Check and preview").click()
    expect(page.get_by_role("alert")).to_contain_text("colour")

    page.get_by_label("Keyword arguments").fill('{"amount": 5}')
    page.get_by_role("button", name="Check and preview").click()
    page.get_by_role("button", name="Send it").click()
    page.wait_for_url(re.compile(r"/task\?id="))

    (message,) = browsing.sent(app)
    assert (message["args"], message["kwargs"]) == ([0], {"amount": 5})


@BOTH
def test_one_moves_and_cancels_what_is_scheduled(app: Celery, page: Page) -> None:
    task_id = app.tasks["shop.charge"].apply_async((1,), countdown=3600).id
    page.goto("/scheduled")
    page.get_by_label(f"Select shop.charge {task_id}").check()
    page.get_by_role("button", name="Reschedule selected…").click()
    page.get_by_label("Due").fill("in 5h")
    page.get_by_role("button", name="Move").click()
    page.wait_for_url(re.compile(r"/task\?id="))
    (moved,) = app.fullresult.scheduled()

    page.get_by_role("link", name="Cancel…").click()
    page.get_by_role("button", name="Cancel for good").click()
    page.wait_for_url(re.compile(r"/task\?id="))

    assert (moved.due - moved.date_scheduled).total_seconds() > 4 * 3600
    assert app.fullresult.get(task_id).state == "REVOKED"


def test_one_deletes_what_one_selects(app: Celery, page: Page) -> None:
    kept, gone = browsing.failed(app, 2)
    page.goto("/?q=state:FAILURE")

    page.get_by_role("checkbox", name=gone).check()
    page.get_by_role("button", name="Delete selected").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Delete the record of 1 task?")
    page.get_by_role("button", name="Delete 1 for good").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("1 record deleted")
    assert [record.task_id for record in app.fullresult.find()] == [kept]


def test_one_sends_a_task_and_is_told_what_is_wrong(app: Celery, page: Page) -> None:
    page.get_by_role("link", name="Send a task").click()
    page.get_by_label("Task").fill("shop.charge")
    page.get_by_label("Positional arguments").fill("[1, 2, 3]")
    page.get_by_role("button", name="Check and preview").click()
    expect(page.get_by_role("alert")).to_contain_text("does not take these arguments")
    page.get_by_label("Positional arguments").fill("[1, 2]")
    page.get_by_role("button", name="Check and preview").click()
    page.get_by_role("button", name="Send it").click()

    expect(page.get_by_role("heading", level=1)).to_contain_text("shop.charge")
    (message,) = browsing.sent(app)
    assert message["args"] == [1, 2]


def test_one_revokes_and_terminates_after_a_question(
    request: pytest.FixtureRequest, chromium: Browser, tmp_path: Path
) -> None:
    with (
        workers.running("sqlite", request) as scene,
        browsing.served(create_app(scene.full, token=TOKEN)) as address,
    ):
        visit = chromium.new_context(base_url=address)
        page = visit.new_page()
        page.goto(f"/?token={TOKEN}")
        runs = scene.send("wait_for", str(tmp_path / "never"))
        waits = scene.send("add", 1, 2)
        scene.eventually(runs, workers.is_started)

        for task_id, link, button in (
            (waits, "Revoke", "Revoke"),
            (runs, "Terminate", "End its process"),
        ):
            page.goto(f"/task?id={task_id}")
            page.get_by_role("link", name=link).click()
            expect(page.get_by_role("heading", level=1)).to_have_text(f"{link} 1 task?")
            page.get_by_role("button", name=button).click()
            page.wait_for_url(f"**/task?id={task_id}")
        visit.close()

        scene.final(runs, "REVOKED")
        assert scene.final(waits, "REVOKED").start is None


def test_one_runs_a_periodic_task_now(app: Celery, page: Page) -> None:
    page.goto("/periodic")
    page.get_by_role("link", name="Run every morning now").click()

    page.get_by_role("button", name="Run it now").click()
    page.wait_for_url(re.compile(r"/task\?id="))

    (message,) = browsing.sent(app)
    assert message["args"] == ["ada@example.com"]


def test_what_one_unfolded_stays_so_when_its_page_changes(app: Celery, page: Page) -> None:
    (task_id,) = browsing.charge(app)
    page.goto(f"/task?id={task_id}")
    arguments = page.locator("details.json").first
    arguments.locator("summary").click()

    browsing.ran(app, task_id, "shop.charge")

    expect(page.locator(".lead .state").first).to_have_text("SUCCESS")
    expect(arguments).to_have_attribute("open", "")


def test_one_resolves_a_cause_and_finds_it_again(app: Celery, page: Page) -> None:
    """From a task to its cause, which is resolved with a note; it is then left out."""
    (task_id,) = browsing.failed(app)
    page.goto(f"/task?id={task_id}")
    page.get_by_role("link", name="failures like this one").click()
    page.get_by_label("Note").fill("mended in 4.2")

    page.get_by_role("button", name="Resolve").click()
    expect(page.get_by_role("button", name="Reopen")).to_be_visible()
    # A number may stand beside it.
    page.get_by_role("link", name=re.compile(r"^Failures\b")).click()

    expect(page.get_by_text("No failure is left to be dealt with.")).to_be_visible()
    page.get_by_label("also what is dealt with").check()
    page.get_by_role("button", name="Show").click()
    page.get_by_role("link", name="shop.charge").click()
    expect(page.get_by_text("mended in 4.2")).to_be_visible()
    (found,) = app.fullresult.failures.find(all=True)
    assert found.standing == "resolved"


def test_one_mutes_a_cause_and_takes_that_back(app: Celery, page: Page) -> None:
    (task_id,) = browsing.failed(app)
    group = app.fullresult.get(task_id).fingerprint
    page.goto(f"/failure?id={group}")
    page.get_by_label("Until").fill("in 2d")

    page.get_by_role("button", name="Mute").click()
    expect(page.get_by_role("button", name="Reopen")).to_be_visible()
    muted = app.fullresult.failures.get(group)
    page.get_by_role("button", name="Reopen").click()
    expect(page.get_by_role("button", name="Mute")).to_be_visible()

    assert muted.standing == "muted"
    assert muted.decision.until_time is not None
    assert app.fullresult.failures.get(group).standing == "open"


def test_one_begins_a_replay_and_pauses_resumes_cancels_and_undoes_it(
    app: Celery, page: Page
) -> None:
    full = app.fullresult
    browsing.failed(app, 3)
    page.goto("/replay-create?q=state:FAILURE")
    page.get_by_label("Tasks a second").fill("0.5")
    page.get_by_label("Canary").fill("")
    page.get_by_role("button", name="Begin the replay").click()

    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.get_by_text("Cancel…").click()
    page.get_by_role("button", name="Cancel it").click()
    page.get_by_text("Undo…").click()
    page.get_by_role("button", name="Undo it").click()
    expect(page.get_by_text("Undo…")).to_have_count(0)

    (replay,) = full.replays.list()
    assert (replay.state, replay.rate) == ("UNDONE", 0.5)
    did = [entry.details["did"] for entry in full.audit_log(action="replay")]
    assert did[::-1] == ["create", "pause", "resume", "cancel", "undo"]


def test_the_list_lives_and_can_be_paused(app: Celery, page: Page) -> None:
    """New rows come and states change by themselves; what was selected stays so."""
    first = app.send_task("shop.charge", (1,)).id
    row = page.locator("tbody tr", has_text=first[:8])
    expect(row).to_be_visible()
    row.get_by_role("checkbox").check()
    browsing.ran(app, first, "shop.charge")
    expect(row).to_contain_text("SUCCESS")
    expect(row.get_by_role("checkbox")).to_be_checked()
    page.get_by_role("button", name="Pause").click()
    second = app.send_task("shop.charge", (2,)).id
    with page.expect_response(re.compile("fragment"), timeout=10_000):
        page.get_by_role("button", name="Go on").click()

    expect(page.locator("tbody tr", has_text=second[:8])).to_be_visible()


def test_a_search_goes_on_by_itself_until_nothing_is_left(
    app: Celery, page: Page, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "AT_ONCE", 3)
    monkeypatch.setattr(tasks, "_FURTHER", 0)
    for number in range(12):
        app.send_task("shop.rare" if number % 4 == 0 else "shop.common")

    page.goto(f"{address}/?q=rare")

    expect(page.locator("#news")).to_have_text("3 found")
    expect(page.locator("#live tbody tr")).to_have_count(3)
    expect(page.get_by_text("No older task matches.")).to_be_visible()
    expect(page.get_by_text("Look further back")).to_have_count(0)


def test_a_reader_logs_in_and_is_refused(app: Celery, context: BrowserContext) -> None:
    (task_id,) = browsing.failed(app)
    page = context.new_page()
    page.goto(f"/task?id={task_id}")
    log_in(page, "bob", "wrong")
    expect(page.get_by_role("alert")).to_contain_text("wrong")
    log_in(page, "bob")
    page.wait_for_url(re.compile(r"/task\?id="))

    expect(page.get_by_text("card declined").first).to_be_visible()
    expect(page.get_by_role("link", name="Retry…", exact=True)).to_have_count(0)
    answer = page.evaluate(
        """async () => (await fetch("/retry", {
            method: "POST", body: new URLSearchParams({id: "x", csrf: "guess"}) })).status"""
    )
    assert answer == 403
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")


def test_another_site_can_make_the_browser_do_nothing(
    app: Celery, page: Page, context: BrowserContext
) -> None:
    """A page of another site sends our own form, with the cookies of somebody who is logged in."""
    (task_id,) = browsing.failed(app)
    here = page.url
    elsewhere = context.new_page()
    elsewhere.set_content(
        f'<form method="post" action="{here}retry"><input name="id" value="{task_id}">'
        "<button>Win!</button></form>"
    )

    elsewhere.get_by_role("button").click()
    elsewhere.wait_for_url(re.compile("/retry"))

    expect(elsewhere.get_by_role("heading", level=1)).to_have_text(
        re.compile("Not allowed|Log in|Please log in")
    )
    assert browsing.sent(app) == []


def test_what_a_task_says_stays_text(app: Celery, page: Page) -> None:
    hostile = "</pre></bdi><script>document.title='owned'</script><img src=x onerror=alert(1)>"
    task_id = app.send_task(hostile, (hostile,), {hostile: hostile}).id
    browsing.ran(app, task_id, hostile, RuntimeError(hostile))

    for path in ("/", f"/task?id={task_id}", f"/edit?id={task_id}", f"/retry?id={task_id}"):
        page.goto(path)
        assert "owned" not in page.title() or "<script>" in page.title()
        assert page.locator("main script, main img").count() == 0


def test_why_is_told_after_the_page_has_come(app: Celery, page: Page) -> None:
    later = app.tasks["shop.charge"].apply_async((1,), countdown=3600).id
    page.goto(f"/task?id={later}")

    box = page.locator("#why")
    expect(box).to_contain_text(re.compile("It waits in the storage and is due in (59|1 h 00) m"))
    expect(box).to_contain_text(f"celery -A proj fullresult reschedule {later}")


def test_dates_say_how_long_ago_and_switch_between_utc_and_local_time(
    app: Celery, chromium: Browser, address: str
) -> None:
    (task_id,) = browsing.charge(app)
    published = app.fullresult.get(task_id).date_published
    utc = f"{published:%Y-%m-%d %H:%M:%S}"
    there = f"{published + timedelta(hours=5, minutes=45):%Y-%m-%d %H:%M:%S}"
    visit = chromium.new_context(base_url=address, timezone_id="Asia/Kathmandu")
    page = visit.new_page()
    page.goto(f"/?token={TOKEN}")
    cell = page.locator("tbody time").first

    expect(cell).to_have_text(re.compile(rf"^\d+ s ago {utc}$"))
    page.get_by_role("button", name="Times are in UTC: change").press("Enter")
    expect(cell).to_have_text(re.compile(rf"^\d+ s ago {there}$"))
    expect(cell).to_have_attribute("title", f"{utc} UTC")
    page.goto(f"/task?id={task_id}")

    milliseconds = f"{published.microsecond // 1000:03}"
    expect(page.locator("main time").first).to_have_text(f"{there}.{milliseconds}")
    page.get_by_role("button", name="Times are in local time: change").click()
    expect(page.locator("main time").first).to_have_text(f"{utc}.{milliseconds}")
    plain = chromium.new_context(base_url=address, java_script_enabled=False)
    without = plain.new_page()
    without.goto(f"/?token={TOKEN}")
    expect(without.locator("tbody time").first).to_have_text(utc)
    expect(without.get_by_role("button", name="UTC")).to_have_count(0)
    plain.close()
    visit.close()


def test_without_scripts_everything_can_be_read_and_done(
    app: Celery, chromium: Browser, address: str
) -> None:
    (task_id,) = browsing.failed(app)
    plain = chromium.new_context(base_url=address, java_script_enabled=False)
    page = plain.new_page()
    page.goto(f"/?token={TOKEN}")
    page.get_by_role("link", name=task_id[:8]).click()
    page.get_by_role("link", name="Retry…", exact=True).click()

    page.get_by_role("button", name="Send 1 task again").click()
    page.wait_for_url(re.compile(r"/task\?id="))
    plain.close()

    assert len(browsing.sent(app)) == 1


@pytest.mark.parametrize("width", [360, 390, 768, 1024, 1280, 1920])
def test_no_page_is_wider_than_the_screen(
    app: Celery, chromium: Browser, address: str, width: int
) -> None:
    (task_id,) = browsing.failed(app)
    overdue(app, "late-with-a-long-id", timedelta(hours=2))
    screen = chromium.new_context(base_url=address, viewport={"width": width, "height": 740})
    page = screen.new_page()
    page.goto(f"/?token={TOKEN}")

    of_one = [f"/{name}?id={task_id}" for name in ("task", "edit", "retry", "why", "delete")]
    lost = ("/stale?older=0s", "/orphans", "/stale-scheduled")
    others = ("overview", "failures", "scheduled", "periodic", "workers", "queues", "audit")
    replay = app.fullresult.replays.create(state="FAILURE", name="after the outage of monday")
    of_replays = ("/replays", f"/replay?id={replay.replay_id}", "/replay-create?q=state:FAILURE")
    for path in ("/", *of_one, *lost, *of_replays, *(f"/{name}" for name in others)):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    screen.close()


def test_what_needs_somebody_stands_in_red_beside_its_page(
    app: Celery, chromium: Browser, address: str
) -> None:
    """Before anybody looks: the numbers are kept for some seconds."""
    browsing.failed(app, 2)
    overdue(app, "late", timedelta(hours=2))
    visit = chromium.new_context(base_url=address)
    page = visit.new_page()

    page.goto(f"/overview?token={TOKEN}")

    beside = page.locator("header .alarm")
    expect(beside).to_have_text(["2", "1"])
    expect(page.get_by_role("link", name="Failures 2")).to_be_visible()
    page.get_by_role("link", name="Lost 1").click()
    expect(page.get_by_role("link", name="Stale scheduled 1")).to_be_visible()
    visit.close()


def test_the_first_row_of_failures_begins_high_up(app: Celery, page: Page) -> None:
    browsing.failed(app, 3)
    page.set_viewport_size({"width": 1280, "height": 800})

    page.goto("/?q=state:FAILURE")

    box = page.locator("tbody tr").first.bounding_box()
    assert box is not None
    assert box["y"] < 250


def names_of(page: Page) -> list[Any]:
    """What can be used on a page and has no name for whoever cannot see it."""
    found: list[Any] = page.evaluate(
        """() => [...document.querySelectorAll("a, button, input:not([type=hidden]), textarea")]
            .filter((each) => !each.hidden && !(each.getAttribute("aria-label") || each.textContent
                || (each.labels && each.labels.length))).map((each) => each.outerHTML)"""
    )
    return found


def test_everything_that_can_be_used_has_a_name_for_a_screen_reader(
    app: Celery, page: Page
) -> None:
    (task_id,) = browsing.failed(app)
    app.tasks["shop.charge"].apply_async((1,), countdown=3600)

    group = app.fullresult.get(task_id).fingerprint
    known = (
        f"/failure?id={group}",
        "/failures",
        "/scheduled",
        "/periodic",
        "/workers",
        "/queues",
        f"/why?id={task_id}",
    )
    for path in ("/", f"/task?id={task_id}", f"/edit?id={task_id}", *known):
        page.goto(path)
        assert names_of(page) == [], path
        assert page.locator("h1").count() == 1, path


# --- every page, light and dark


def every_page(app: Celery) -> list[str]:
    """The addresses of all pages, with something to see on each."""
    (task_id,) = browsing.failed(app)
    overdue(app, "late", timedelta(hours=2))
    scheduled = app.tasks["shop.charge"].apply_async((1,), countdown=3600).id
    record = app.fullresult.get(task_id)
    replay = app.fullresult.replays.create(state="FAILURE", name="after the outage of monday")
    of_one = [f"/{name}?id={task_id}" for name in ("task", "edit", "retry", "why", "delete")]
    of_scheduled = [f"/{name}?id={scheduled}" for name in ("task", "cancel", "reschedule")]
    lost = ("/stale?older=0s", "/orphans", "/stale-scheduled")
    of_replays = ("/replays", f"/replay?id={replay.replay_id}", "/replay-create?q=state:FAILURE")
    others = ("overview", "failures", "scheduled", "periodic", "workers", "queues", "audit")
    return [
        "/pause-queue?queue=celery",
        *("/", "/?q=state:FAILURE", "/?q=nothing", *of_one, *of_scheduled, *lost, *of_replays),
        *(f"/{name}" for name in others),
        *(f"/failure?id={record.fingerprint}", "/task?id=unknown", "/send?name=shop.mail"),
    ]


def test_axe_finds_nothing_on_any_page_light_or_dark(
    app: Celery, chromium: Browser, address: str
) -> None:
    """Neither against WCAG at the levels A and AA, nor against what axe holds for good practice."""
    # Its script is not one of ours.
    visit = chromium.new_context(base_url=address, color_scheme="light", bypass_csp=True)
    page = visit.new_page()
    page.goto("/login")
    found = {"/login": violations(page)}
    page.goto(f"/?token={TOKEN}")

    for path in every_page(app):
        page.goto(path)
        found[path] = violations(page)

    visit.close()
    assert {path: wrong for path, wrong in found.items() if wrong} == {}


def violations(page: Page) -> list[str]:
    """What axe finds on a page in light, and in dark of what has to do with colours."""
    page.add_script_tag(path=str(files("axe_playwright_python") / "axe.min.js"))
    in_light: list[str] = page.evaluate(_AXE, {})
    page.emulate_media(color_scheme="dark")
    in_dark: list[str] = page.evaluate(_AXE, {"runOnly": ["color-contrast", "link-in-text-block"]})
    page.emulate_media(color_scheme="light")
    return [*in_light, *(f"dark: {wrong}" for wrong in in_dark)]


_AXE = """async (options) => (await axe.run(document, {resultTypes: ["violations"], ...options}))
    .violations.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.html}`))"""


def reached(page: Page, wanted: str) -> None:
    """Press Tab until the focus, which can always be seen, is on what *wanted* selects."""
    for _ in range(120):
        page.keyboard.press("Tab")
        seen, there = page.evaluate(
            """(wanted) => { const it = document.activeElement, style = getComputedStyle(it);
                return [style.outlineStyle !== "none" && style.outlineWidth !== "0px",
                    it.matches(wanted)]; }""",
            wanted,
        )
        assert seen, page.evaluate("document.activeElement.outerHTML")
        if there:
            return
    raise AssertionError(f"Tab never comes to {wanted}")


def test_a_task_is_found_opened_and_sent_again_by_keyboard_alone(app: Celery, page: Page) -> None:
    (task_id,) = browsing.failed(app)
    press = page.keyboard.press

    press("/")
    page.keyboard.type("state:FAILURE")
    press("Enter")
    page.wait_for_url("**/?*state*FAILURE*")
    reached(page, f"tbody a[href*='/task?id={task_id}']")
    press("Enter")
    page.wait_for_url(f"**/task?id={task_id}*")
    reached(page, "a[href*='/retry?']")
    press("Enter")
    page.wait_for_url("**/retry?*")
    expect(page.get_by_role("button", name="Send 1 task again")).to_be_focused()
    press("Enter")
    page.wait_for_url(re.compile(r"/task\?id="))

    assert len(browsing.sent(app)) == 1


def pressed(page: Page, path: str, wanted: str) -> None:
    """Open *path*, come to what *wanted* selects by Tab, and press Enter on it."""
    page.goto(path)
    if not page.evaluate("(wanted) => document.activeElement.matches(wanted)", wanted):
        reached(page, wanted)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.get_by_role("alert").count() == 0, (path, page.locator("main").inner_text())


def test_each_action_is_done_by_keyboard_alone(app: Celery, page: Page) -> None:
    full = app.fullresult
    failed, edited = browsing.failed(app, 2)
    waits = browsing.charge(app, 3, countdown=3600)
    group = full.get(failed).fingerprint
    replay = full.replays.create(state=FAILURE, stop_if=None).replay_id
    due = {each.task_id: each.due for each in full.scheduled()}

    for path, wanted in (
        (f"/cancel?id={waits[0]}", "form[action='/cancel'] button"),
        (f"/reschedule?id={waits[1]}&eta=%2B1h", "form[action='/reschedule'] button"),
        (f"/send-now?id={waits[2]}", "form[action='/send-now'] button"),
        ("/trigger?name=every+morning", "form[action^='/trigger'] button"),
        (f"/retry?id={failed}", "form[action='/retry'] button"),
        (f"/edit?id={edited}", "form[action^='/edit'] button"),
        (f"/replay?id={replay}", "button[value=pause]"),
        (f"/replay?id={replay}", "button[value=resume]"),
        ("/replay-create?q=state:FAILURE", "form[action='/replay-create'] button"),
        (f"/failure?id={group}", "button[value=resolve]"),
        (f"/delete?id={waits[0]}", "form[action='/delete'] button"),
    ):
        pressed(page, path, wanted)
    page.goto("/send?name=shop.mail")
    reached(page, "#args")
    page.keyboard.type('["ada@example.com"]')
    reached(page, "form[action='/send'] button")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Send it")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/task\?id="))

    assert full.get(waits[0]) is None
    (moved,) = (each for each in full.scheduled() if each.task_id == waits[1])
    assert moved.due == due[waits[1]] + timedelta(hours=1)
    done = {(entry.action, entry.outcome) for entry in full.audit_log(limit=None)}
    acts = ("cancel", "reschedule", "resend-scheduled", "trigger", "resend", "replay", "resolve")
    added = {("delete", "done"), ("send", "done")}
    assert added <= done
    done -= added
    assert done == {(act, "done") for act in acts}
    assert len(full.replays.list()) == 2


def test_axe_finds_nothing_on_forms_of_many_and_what_follows_them(
    app: Celery, chromium: Browser, address: str
) -> None:
    """Each form, what it says of a mistake, and what it says when it is done."""
    failed = browsing.failed(app, 3)
    waits = browsing.charge(app, 4, countdown=3600)
    working(app, "w1@host")
    begun(app, "running", "w1@host")
    (pending,) = browsing.charge(app)
    visit = chromium.new_context(base_url=address, color_scheme="light", bypass_csp=True)
    page = visit.new_page()
    page.goto(f"/?token={TOKEN}")
    found: dict[str, list[str]] = {}

    def look(name: str) -> None:
        found[name] = violations(page)

    for path in (f"/revoke?id={pending}", "/terminate?id=running", "/trigger?name=every+morning"):
        page.goto(path)
        assert page.locator("main form button").count() == 1, path
        look(path)
    both = f"id={waits[0]}&id={waits[1]}"
    for path in (f"/cancel?{both}", f"/reschedule?{both}", f"/send-now?{both}"):
        page.goto(path)
        look(path)
    page.goto(f"/reschedule?{both}")
    page.get_by_label("Due").fill("whenever")
    page.get_by_role("button", name="Move").click()
    look("a date that is none")
    page.goto(f"/cancel?{both}&id=unknown")
    page.get_by_role("button", name="Cancel for good").click()
    look("two cancelled, and one not")
    page.goto(f"/edit?id={failed[0]}")
    page.get_by_label("Keyword arguments").fill('{"colour": "red"}')
    page.get_by_role("button", name="Check and preview").click()
    look("arguments that do not fit")
    page.get_by_label("Keyword arguments").fill('{"amount": 5}')
    page.get_by_role("button", name="Check and preview").click()
    look("arguments that fit")
    page.goto("/retry?q=state:FAILURE")
    look("retry of many")
    page.get_by_role("button", name="Send 3 tasks again").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("3 of 3 sent again")
    look("many sent again")
    page.goto("/task?id=running")
    look("a task that runs")

    visit.close()
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_axe_finds_nothing_where_a_task_is_sent_or_deleted_or_its_chain_goes_on(
    app: Celery, chromium: Browser, address: str
) -> None:
    charge = app.tasks["shop.charge"]
    first = str(chain(charge.s(1), charge.s()).apply_async().parent.id)
    browsing.ran(app, first, "shop.charge", ValueError("card declined"))
    (pending,) = browsing.charge(app)
    visit = chromium.new_context(base_url=address, color_scheme="light", bypass_csp=True)
    page = visit.new_page()
    page.goto(f"/?token={TOKEN}")
    found: dict[str, list[str]] = {}

    page.goto("/send?name=shop.mail")
    page.get_by_label("Positional arguments").fill('["ada@example.com"]')
    page.get_by_role("button", name="Check and preview").click()
    expect(page.get_by_role("button", name="Send it")).to_be_visible()
    found["a task to send"] = violations(page)
    page.get_by_role("button", name="Send it").click()
    expect(page.get_by_role("button", name="Send it")).to_have_count(0)
    found["a task that was sent"] = violations(page)
    page.goto(f"/task?id={first}")
    page.get_by_role("link", name="Go on with the chain…").click()
    expect(page.get_by_role("button", name="Go on with the chain")).to_be_visible()
    found["how a chain goes on"] = violations(page)
    page.goto(f"/delete?id={pending}")
    page.get_by_role("button", name="Delete 1 for good").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("1 record deleted")
    found["a record deleted"] = violations(page)

    visit.close()
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_a_queue_is_paused_and_resumed_and_axe_finds_nothing(
    app: Celery, chromium: Browser, address: str
) -> None:
    browsing.charge(app)
    visit = chromium.new_context(base_url=address, color_scheme="light", bypass_csp=True)
    page = visit.new_page()
    page.goto(f"/queues?token={TOKEN}")
    found: dict[str, list[str]] = {}

    page.get_by_role("link", name="Pause…").click()
    found["a queue to pause"] = violations(page)
    page.get_by_label("Reason").fill("disk full")
    page.get_by_label("For such as 2h").fill("soon")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_label("Reason")).to_have_value("disk full")
    found["a length that is none"] = violations(page)
    page.get_by_label("For such as 2h").fill("2h")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("status")).to_contain_text("disk full")
    found["a queue that is paused"] = violations(page)
    page.get_by_role("link", name="Resume…").click()
    found["a queue to resume"] = violations(page)
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("link", name="Pause…")).to_be_visible()

    visit.close()
    assert app.fullresult.queues(offline=True).queues[0].paused is None
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_one_logs_in_at_a_provider_and_comes_back(
    app: Celery, chromium: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a browser, which sends no cookie of ours with what another site begins."""
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    ada = {"sub": "ada", "email": "ada@example.com", "email_verified": True}
    with oidc_provider.provider(ada) as issuer:
        known = {"issuer": issuer.replace("127.0.0.1", "localhost"), "client_id": "p"}
        known |= {"client_secret": "of the pages"}
        pages = create_app(app.fullresult, oidc={**known, "readers": ["ada@example.com"]})
        with browsing.served(pages) as address:
            visit = chromium.new_context(base_url=address)
            page = visit.new_page()
            page.goto("/workers")
            page.get_by_role("link", name="Log in with your organisation").click()
            page.get_by_role("button", name="ada").click()

            page.wait_for_url(f"{address}/workers")
            expect(page.get_by_text("ada@example.com (reader)")).to_be_visible()
            page.get_by_role("button", name="Log out").click()
            expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
            visit.close()


# Dates that stand beyond the card they are in.
_CLIPPED = """() => [...document.querySelectorAll(".card time")].filter((each) =>
    !each.closest(".scroll") && each.getClientRects().length && each.getBoundingClientRect().right >
        each.closest(".card").getBoundingClientRect().right).map((each) => each.outerHTML)"""
_SAMPLE = (390, "light")
_SCREENS = [(width, scheme) for width in (390, 768, 1280, 1920) for scheme in ("light", "dark")]


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        pytest.param(*each, marks=[] if each == _SAMPLE else pytest.mark.campaign)
        for each in _SCREENS
    ],
)
def test_every_page_is_photographed(
    app: Celery, chromium: Browser, address: str, tmp_path: Path, width: int, scheme: Any
) -> None:
    """Into pytest's temporary directory, to be looked at: `--basetemp DIRECTORY` says where."""
    if not app.conf.fullresult_storage.startswith("sqlite"):
        pytest.skip("pages look the same on each database")
    screen = chromium.new_context(
        base_url=address, color_scheme=scheme, viewport={"width": width, "height": 900}
    )
    page = screen.new_page()
    page.goto(f"/?token={TOKEN}")
    paths = every_page(app)

    for number, path in enumerate(paths):
        page.goto(path)
        name = re.sub(r"\W+", "-", path.partition("id=")[0]).strip("-")
        page.screenshot(path=tmp_path / f"{number:02}-{name}-{width}-{scheme}.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.evaluate(_CLIPPED) == [], path

    screen.close()
    assert len([*tmp_path.glob("*.png")]) == len(paths)


# --- the pictures of the documentation


def _history(now: datetime) -> Iterator[TaskRecord]:
    """Two thousand tasks of the last day, more of them by day than by night."""
    chance = random.Random(7)
    for number in range(2000):
        ago = chance.random() * 86400
        if chance.random() > 0.3 + 0.7 * math.sin(ago / 86400 * math.pi):
            continue
        created = now - timedelta(seconds=ago + 5)
        state = FAILURE if chance.random() < 0.06 else SUCCESS
        ran = timedelta(seconds=chance.lognormvariate(-1.2, 0.6))
        started = created + timedelta(seconds=chance.lognormvariate(-2.5, 0.8))
        outcome = samples.outcome(state, started + ran, date_started=started, worker="w1@host")
        name = chance.choice(["shop.charge", "shop.charge", "shop.mail", "shop.stock.update"])
        yield samples.event(
            f"{number:032x}",
            created,
            date_published=created,
            outcome=outcome._replace(runtime=ran.total_seconds()),
            message=samples.message(created, name=name, queue="orders"),
            start=samples.start(started, "w1@host"),
        )


def a_days_work(app: Celery) -> dict[str, str]:
    """Records that are worth a picture; the ids of some of them."""
    charge, mail = app.tasks["shop.charge"], app.tasks["shop.mail"]
    app.fullresult.storage.write([*_history(app.fullresult.storage.now())])
    for number in range(40):
        task_id = charge.apply_async((1000 + number,), {"amount": 9.5}).id
        if number % 9 != 4:
            browsing.ran(app, task_id, "shop.charge")
    root = charge.apply_async((7,), {"amount": 42}, priority=5).id
    for customer in ("ada", "grace"):
        child = mail.apply_async((f"{customer}@example.com",), root_id=root, parent_id=root).id
        browsing.ran(app, child, "shop.mail")
    try:
        raise ValueError("card declined: insufficient funds")
    except ValueError as error:
        browsing.ran(app, root, "shop.charge", error)
    app.fullresult.resend(root)
    charge.apply_async((8,), countdown=5400)
    scheduled = mail.apply_async(("ada@example.com",), countdown=7200).id
    app.fullresult.audit("resend", actor="ada", task_ids=[root])
    return {"failed": root, "scheduled": scheduled}


@pytest.mark.skipif(not WANTED, reason="FULLRESULT_SCREENSHOTS is not set")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_are_taken(app: Celery, chromium: Browser, address: str, scheme: Any) -> None:
    ids = a_days_work(app)
    context = chromium.new_context(
        base_url=address,
        color_scheme=scheme,
        viewport={"width": 1240, "height": 760},
        timezone_id="UTC",
    )
    page = context.new_page()
    page.goto(f"/?token={TOKEN}")
    PICTURES.mkdir(exist_ok=True)

    for name, path in {
        "tasks": "/?q=",
        "task": f"/task?id={ids['failed']}",
        "edit": f"/edit?id={ids['failed']}",
        "overview": "/overview",
    }.items():
        page.goto(path)
        if name == "task":
            expect(page.get_by_text("What to do")).to_be_visible(timeout=60_000)
        page.screenshot(path=PICTURES / f"web-{name}-{scheme}.png")
    context.close()


def test_a_chain_goes_on_from_its_page_and_once_for_two_who_look(app: Celery, page: Page) -> None:
    charge = app.tasks["shop.charge"]
    first = str(chain(charge.s(1), charge.s(), charge.s()).apply_async().parent.parent.id)
    known: dict[str, Any] = {"date_started": samples.NOON, "exception_type": "OSError"}
    app.fullresult.storage.write([samples.became(first, FAILURE, worker="w1@host", **known)])
    browsing.sent(app)
    late = page.context.new_page()
    for each in (page, late):
        each.goto(f"/task?id={first}")
        each.get_by_role("link", name="Go on with the chain…").click()
        expect(each.get_by_text("never ran, and will")).to_have_count(2)

    page.get_by_role("button", name="Go on with the chain").click()

    (new,) = (message["id"] for message in browsing.sent(app))
    expect(page).to_have_url(re.compile(f"/task\\?id={new}"))
    late.get_by_role("button", name="Go on with the chain").click()
    expect(late.get_by_text("Nothing was sent")).to_be_visible()
    assert browsing.sent(app) == []


def test_one_heals_a_chord_from_the_page_of_its_member(app: Celery, page: Page) -> None:
    charge = app.tasks["shop.charge"]
    result = chord([charge.s(1), charge.s(2)], charge.si(3)).apply_async()
    bad, good = (str(each.id) for each in result.parent.results)
    known: dict[str, Any] = {"date_started": samples.NOON, "worker": "w1@host"}
    failed = samples.became(bad, FAILURE, exception_type="OSError", **known)
    succeeded = samples.became(good, SUCCESS, result="2", result_form="json", **known)
    app.fullresult.storage.write([failed, succeeded])
    browsing.sent(app)
    page.goto(f"/task?id={bad}")

    page.get_by_role("link", name="Retry in its chord…").click()
    expect(page.get_by_text("never ran, and will")).to_have_count(1)
    page.get_by_role("button", name="Retry in its chord").click()
    expect(page).to_have_url(re.compile("/task\\?id="))

    (again,) = app.fullresult.find(retry_of=bad)
    assert again.task_id in {message["id"] for message in browsing.sent(app)}


def test_one_forks_a_chain_from_a_step_that_succeeded(app: Celery, page: Page) -> None:
    charge = app.tasks["shop.charge"]
    first = str(chain(charge.s(1), charge.s()).apply_async().parent.id)
    browsing.ran(app, first, "shop.charge")
    browsing.sent(app)
    page.goto(f"/task?id={first}")

    page.get_by_role("link", name="Fork from here…").click()
    page.get_by_role("button", name="Fork from here").click()

    expect(page).not_to_have_url(re.compile("/surgery"))
    (new,) = (message["id"] for message in browsing.sent(app))
    assert new != first
    assert app.fullresult.get(first).state == SUCCESS
