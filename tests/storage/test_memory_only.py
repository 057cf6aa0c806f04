"""A storage of nine methods is a whole one: it is all that a memory of tasks needs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from celery import Celery
from celery.exceptions import ImproperlyConfigured

from fullresult import FullResult
from fullresult.storage import (
    AuditStorage,
    ScheduleStorage,
    StorageError,
    WorkerStorage,
)
from fullresult.testing import open_storage
from tests.kit import memory_only
from tests.kit.browsing import Browser, entered
from tests.kit.commands import run

ROOT = Path(__file__).parents[2]
ENDS = "PASSED|SKIPPED|FAILED|ERROR"
CORE = {
    "test_setup_keeps_what_is_there",
    "test_every_field_comes_back",
    "test_any_order_and_repetition_of_events_gives_the_same_record",
    "test_filters_narrow_together",
    "test_processes_and_threads_delete_each_record_once",
}
SCHEDULED = {
    "test_every_field_of_a_schedule_comes_back",
    "test_schedules_never_expire",
    "test_threads_never_claim_a_schedule_twice",
    "test_no_more_schedules_are_counted_than_asked",
    "test_what_an_older_version_left_takes_schedules_after_setup",
}
_SOME = "setup or each_record or same_record or field or narrow or schedule"
NO_SCHEDULES = "this storage keeps no schedules: no task can wait in it"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "selected",
    [
        pytest.param(
            "setup or each_record or same_record or field or narrow or schedule", id="some"
        ),
        pytest.param("", marks=pytest.mark.campaign, id="all"),
    ],
)
def test_it_passes_its_part_of_the_suite(selected: str) -> None:
    """What is about schedules, or optional, is skipped."""
    finished = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "tests/kit/memory_only.py", "-v", "--tb=short"),
            *("-k", selected),
            *("-p", "no:cacheprovider", "--hypothesis-seed=1"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    ended = dict(re.findall(rf"::TestMemoryOnly::(.+?) ({ENDS})\b", finished.stdout))
    passed = {name.partition("[")[0] for name, how in ended.items() if how == "PASSED"}
    assert set(ended.values()) == {"PASSED", "SKIPPED"}, finished.stdout
    assert passed >= CORE
    assert not passed & SCHEDULED


@pytest.mark.parametrize("url", ["sqlite:///a.db", "postgresql://host/a", "mongodb://host/a"])
def test_our_adapters_keep_schedules(url: str) -> None:
    """So no test of the suite that is about schedules is skipped with them."""
    assert isinstance(open_storage(url), ScheduleStorage)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Celery:
    memory_only.install(tmp_path, monkeypatch)
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.fullresult_storage = f"{memory_only.SCHEME}:///{tmp_path}/tasks.db"
    FullResult(app)
    return app


def test_tasks_are_recorded_found_counted_sent_again_and_deleted(app: Celery) -> None:
    full: FullResult = app.fullresult
    assert not isinstance(full.storage, (ScheduleStorage, WorkerStorage, AuditStorage))

    app.send_task("shop.pay", kwargs={"order": 7}, task_id="one")
    again = full.resend("one")

    assert {record.task_id for record in full.find(kwargs={"order": 7})} == {"one", again.id}
    assert full.count(state="PENDING") == 2
    assert full.get_stale_tasks(timedelta(0))
    assert full.delete(name="shop.*") == 2
    assert full.purge() == 0


def test_sending_stale_tasks_again_asks_whether_they_may_run_twice(app: Celery) -> None:
    """Without heartbeats it cannot be known that no living worker runs them."""
    app.send_task("shop.pay", task_id="one")

    asked = run(app, "resend", "--stale", "--older-than", "1ms", answer="n\n")

    assert "keeps no heartbeats, so a task may still be run: it then runs twice." in asked.output
    assert app.fullresult.count() == 1


def test_a_task_with_an_eta_goes_to_the_broker(app: Celery) -> None:
    app.send_task("shop.pay", countdown=60, task_id="one")

    record = app.fullresult.get("one")
    assert record.state == "PENDING"
    assert record.eta is not None


def test_revoking_asks_for_no_schedules(app: Celery) -> None:
    app.control.revoke("one")

    assert app.fullresult.get("one") is None


@pytest.mark.parametrize("first", ["settings", "send"])
def test_schedule_eta_needs_a_storage_that_keeps_schedules(app: Celery, first: str) -> None:
    app.conf.fullresult_schedule_eta = True

    with pytest.raises(ImproperlyConfigured) as raised:
        app.fullresult.settings if first == "settings" else app.send_task("shop.pay")

    assert str(raised.value) == (
        "fullresult_schedule_eta = True: this storage keeps no schedules; choose another "
        "fullresult_storage, or leave all tasks to the broker"
    )


CALLS: dict[str, Callable[[FullResult], object]] = {
    "scheduled": lambda full: full.scheduled(),
    "count_scheduled": lambda full: full.count_scheduled(),
    "get_stale_scheduled_tasks": lambda full: full.get_stale_scheduled_tasks(),
    "cancel": lambda full: full.cancel("one"),
    "reschedule": lambda full: full.reschedule("one", "2030-01-01T00:00:00"),
    "release": lambda full: full.release("one"),
    "resend_scheduled": lambda full: full.resend_scheduled("one"),
    "start_sweeper": lambda full: full.start_sweeper(),
}


@pytest.mark.parametrize("call", CALLS)
def test_what_is_asked_of_schedules_is_a_clear_error(app: Celery, call: str) -> None:
    with pytest.raises(StorageError, match=re.escape(NO_SCHEDULES)):
        CALLS[call](app.fullresult)


@pytest.mark.parametrize(
    "command",
    [
        ["scheduled"],
        ["stale-scheduled"],
        ["cancel", "one", "--yes"],
        ["cancel", "--name", "shop.*", "--yes"],
        ["reschedule", "one", "--countdown", "1h"],
        ["release", "one", "--yes"],
        ["resend-scheduled", "one", "--yes"],
        ["sweep", "--once"],
    ],
    ids=" ".join,
)
def test_a_command_about_schedules_says_that_there_are_none(
    app: Celery, command: list[str]
) -> None:
    finished = run(app, *command)

    assert finished.exit_code == 1, finished.output
    assert f"Error: {NO_SCHEDULES}" in finished.output


@pytest.mark.parametrize("command", [["list"], ["show", "one"], ["stale"], ["count"]], ids=" ".join)
def test_commands_about_records_work(app: Celery, command: list[str]) -> None:
    app.send_task("shop.pay", task_id="one")

    finished = run(app, *command)

    assert finished.exit_code == 0, finished.output


@pytest.fixture
def browser(app: Celery) -> Browser:
    return entered(app)


@pytest.mark.parametrize("page", ["", "task?id=one"])
def test_pages_about_records_work(app: Celery, browser: Browser, page: str) -> None:
    app.send_task("shop.pay", task_id="one")

    found = browser.get(f"/{page}")

    assert found.status == 200
    assert "shop.pay" in found.words


PAGES = ["scheduled", "stale-scheduled", "cancel?id=one", "send-now?id=one"]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_about_schedules_says_that_there_are_none(browser: Browser, page: str) -> None:
    found = browser.get(f"/{page}")

    assert found.status == 501
    assert "This storage keeps no schedules" in found.words


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("/orphans", "does not keep which workers are alive"),
        ("/overview", "makes no statistics"),
        ("/metrics", "makes no statistics"),
        ("/audit", "keeps no audit log"),
    ],
)
def test_a_page_that_needs_another_part_says_which(browser: Browser, page: str, words: str) -> None:
    answer = browser.get(page)

    assert answer.status == 501
    assert words in answer.words
