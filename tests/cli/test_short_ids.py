"""A listing shows the beginning of an id, and every command takes it for the id."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from celery import Celery

from fullresult.cli.table import show_records
from fullresult.cli.terminal import width
from tests.kit import browsing
from tests.kit.commands import run
from tests.kit.scheduling import app_on, later

if TYPE_CHECKING:
    from collections.abc import Iterator

ONE = "3f0c9a4e-45bc-4d57-a9c1-c4633574df60"
OTHER = "3f0c77aa-45bc-4d57-a9c1-c4633574df60"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    """An app with two tasks whose ids begin alike."""
    with app_on({"broker_url": "memory://"}, f"sqlite:///{tmp_path / 'records.db'}") as app:
        app.send_task("shop.one", task_id=ONE)
        app.send_task("shop.other", task_id=OTHER)
        yield app


@pytest.mark.parametrize("command", ["show", "explain"])
def test_the_beginning_of_an_id_is_enough(app: Celery, command: str) -> None:
    offline = ["--offline"] if command == "explain" else []

    result = run(app, command, "3f0c9", *offline)

    assert result.exit_code == 0
    assert result.stdout == run(app, command, ONE, *offline).stdout


def test_the_beginning_of_an_id_names_the_step_whose_chain_goes_on(app: Celery) -> None:
    browsing.ran(app, ONE, "shop.one", ValueError("the card was declined"))

    result = run(app, "resume", "3f0c9", "--dry-run")

    assert result.exit_code == 0
    assert f"resume {ONE}" in result.stdout
    assert result.stdout == run(app, "resume", ONE, "--dry-run").stdout


@pytest.mark.parametrize(
    "command",
    [
        ["show"],
        ["explain"],
        ["cancel", "--yes"],
        ["resend", "--yes"],
        ["reschedule", "--eta", "now"],
        ["resume", "--yes"],
        ["heal", "--yes"],
        ["fork", "--yes"],
        ["resend-scheduled", "--yes"],
        ["release", "--yes"],
        ["list", "--retry-of"],
        ["audit", "--task-id"],
    ],
    ids=lambda command: command[0],
)
def test_the_beginning_of_several_ids_is_refused_with_them(app: Celery, command: list[str]) -> None:
    result = run(app, *command, "3f0c")

    assert result.exit_code == 2
    assert f"several ids begin with '3f0c': {OTHER}, {ONE}" in result.stderr.replace("\n", " ")
    assert app.fullresult.count() == 2


def test_an_id_that_begins_another_is_itself(app: Celery) -> None:
    app.send_task("shop.short", task_id="abcd")
    app.send_task("shop.long", task_id="abcde")

    assert "shop.short" in run(app, "show", "abcd").stdout
    assert "shop.long" in run(app, "show", "abcde").stdout


def test_three_characters_are_no_beginning(app: Celery) -> None:
    assert run(app, "show", "3f0").exit_code == 1


def test_a_deed_is_done_to_the_whole_id(app: Celery) -> None:
    later(app, "waits-0001")

    result = run(app, "cancel", "waits-", answer="y\n")

    assert result.exit_code == 0
    assert app.fullresult.get("waits-0001").state == "REVOKED"
    assert app.fullresult.audit_log()[0].task_ids == ("waits-0001",)


@pytest.mark.parametrize(
    "command", [["cancel", "--yes"], ["delete", "--yes"], ["reschedule", "--eta", "now"]]
)
def test_where_nothing_is_asked_no_id_of_the_users_own_is_completed(
    app: Celery, command: list[str]
) -> None:
    """`order-1`, whose record is gone, is not `order-12`."""
    later(app, "order-12")
    due = app.fullresult.scheduled()[0].due
    last_first = [command[0], "order-1", *command[1:]]

    results = [run(app, *command, "order-1"), run(app, *last_first)]

    assert results[0].exit_code == results[1].exit_code
    assert app.fullresult.get("order-12").state == "SCHEDULED"
    assert [each.due for each in app.fullresult.scheduled()] == [due]


def test_where_nothing_is_asked_a_uuid_is_completed(app: Celery) -> None:
    run(app, "delete", "3f0c9", "--yes")

    assert [record.task_id for record in app.fullresult.find()] == [OTHER]


def test_the_page_opens_the_task_of_a_beginning(app: Celery) -> None:
    browser = browsing.entered(app)

    assert browser.get("/?q=3f0c9a4e").url.endswith(f"/task?id={ONE}")
    assert browser.get("/?q=3f0c9").words.count("shop.o") == 1  # A few letters are searched for.


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_a_listing_shows_the_call_the_state_and_the_error_at_any_width(
    app: Celery,
    columns: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    app.fullresult.delete(all=True)
    app.send_task("shop.charge", (7, 9.99), task_id=ONE)
    browsing.ran(app, ONE, "shop.charge", ValueError("the card was declined"))

    show_records(app.fullresult.find(), table=True)

    shown = capsys.readouterr().out
    assert "3f0c9a4e " in shown
    assert ONE not in shown
    for told in ("shop.charge(7, 9.99)", "FAILURE", "ValueError: the card was declined"):
        assert told in shown
    assert max(map(width, shown.splitlines())) <= columns
