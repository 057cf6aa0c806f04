"""The admin and the pages in a real Chromium, under `runserver`."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Error, expect, sync_playwright

from tests.conftest import missing
from tests.kit.django_site import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

    from tests.kit.django_site import Site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(500)]
PREPARE = """
from django.contrib.auth.models import User
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from orders.tasks import charge, remind
User.objects.create_superuser("ada", password="correct horse")
hourly = IntervalSchedule.objects.create(every=1, period="hours")
PeriodicTask.objects.create(name="Remind", task="orders.tasks.remind", interval=hourly, args="[1]")
print(*(charge.delay(n).id for n in range(3)))
print(*(remind.apply_async((n,), countdown=3600).id for n in range(3)))
"""
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE = 30_000


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        for path in filter(None, map(shutil.which, _NAMES)):
            with suppress(Error):
                options = ["--no-sandbox", "--disable-dev-shm-usage"]
                browser = playwright.chromium.launch(executable_path=path, args=options)
                break
        else:
            missing("no Chromium can be started")
        yield browser
        browser.close()


@contextmanager
def served(site: Site) -> Iterator[str]:
    """The site under `runserver`; its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "manage.py", "runserver", "--noreload", str(port)],
        cwd=PROJECT,
        env=site.env(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait(10)


def _wait_for(port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise AssertionError("runserver did not start")


def test_a_person_acts_in_the_admin_and_looks_at_the_pages(site: Site, chromium: Browser) -> None:
    charge, again, gone, cancelled, moved, sent = site.python(PREPARE).split()
    with served(site) as address:
        page = chromium.new_context(base_url=address).new_page()
        page.set_default_timeout(_PATIENCE)
        expect.set_options(timeout=_PATIENCE)

        page.goto("/tasks/")  # to Django's login, and back
        page.fill("[name=username]", "ada")
        page.fill("[name=password]", "correct horse")
        page.click("[type=submit]")
        expect(page.locator("body")).to_contain_text("orders.tasks.charge")

        for action, task_id, done in (
            ("Retry", charge, "sent again"),
            ("Delete", gone, "deleted"),
            ("Cancel", cancelled, "cancelled"),
            ("Reschedule", moved, "moved"),
            ("Send now", sent, "sent"),
        ):
            act(page, action, task_id)
            expect(page.locator(".messagelist")).to_contain_text(f"1 task {done}.")
        run_now(page)
        expect(page.locator(".messagelist")).to_contain_text("Remind was sent as")

        page.goto(f"/tasks/task?id={again}")
        page.get_by_role("link", name="Retry…", exact=True).click()
        page.get_by_role("button", name="Send 1 task again").click()
        expect(page.get_by_text("Sent again from")).to_be_visible()
    states = site.states()
    assert gone not in states
    assert [states.pop(each) for each in (cancelled, moved)] == ["REVOKED", "SCHEDULED"]
    assert states.pop(sent) in {"SCHEDULED_SENT", "PENDING"}
    assert len(states) == 5


def act(page: Page, action: str, task_id: str) -> None:
    """Choose *action* for a task in the admin's list, and confirm it."""
    page.goto(f"/admin/fullresult/taskrecord/?q={task_id}")
    page.check(f'input[name=_selected_action][value="{task_id}"]')
    page.select_option("select[name=action]", label=action)
    page.click("button[name=index]")
    expect(page.locator("#content")).to_contain_text(task_id)
    if action == "Reschedule":
        page.fill("[name=when]", "in 2h")
    page.click(f'#content input[type=submit][value^="{action}"]')


def run_now(page: Page) -> None:
    page.goto("/admin/django_celery_beat/periodictask/?q=Remind")
    page.check("input[name=_selected_action]")
    page.select_option("select[name=action]", label="Run now")
    page.click("button[name=index]")
