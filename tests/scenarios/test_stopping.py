"""Tasks of a real worker that people revoke and terminate, through each door."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fullresult import CannotStop
from fullresult.actions import told_workers
from fullresult.config.passwords import hash_token, new_token
from fullresult.web import create_app
from tests.kit import browsing, workers
from tests.kit.api import Client, told
from tests.kit.commands import run

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = new_token()
USERS = {"robot": {"token": hash_token(TOKEN), "role": "operator"}}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker may need longer than people wait, where the machine has other work."""
    monkeypatch.setattr(told_workers, "WAIT", 20.0)


@pytest.fixture
def busy(running: workers.Scene, tmp_path: Path) -> tuple[str, Path]:
    """A task that runs until a file is there: its id, and the file."""
    go = tmp_path / "go"
    task_id = running.send("wait_for", str(go))
    running.eventually(task_id, workers.is_started)
    return task_id, go


def test_what_waits_behind_another_is_revoked(
    running: workers.Scene, busy: tuple[str, Path]
) -> None:
    first, go = busy
    by_python, by_command, by_api, by_page = (running.send("add", 1, 2) for _ in range(4))
    client = Client.with_token(create_app(running.full, users=USERS), TOKEN)
    browser = browsing.entered(running.app)

    running.full.revoke(by_python, actor="ada")
    printed = run(running.app, "revoke", by_command, "--yes")
    done = told(client.post("revoke", {"ids": [by_api]}))
    asked = browser.get(f"/task?id={by_page}")
    assert f"/revoke?id={by_page}" in asked.links
    browser.submit(browser.get(f"/revoke?id={by_page}").form("/revoke"))
    go.touch()

    assert (printed.exit_code, printed.stdout.strip()) == (0, by_command)
    assert [each["task_id"] for each in done["done"]] == [by_api]
    for task_id in (by_python, by_command, by_api, by_page):
        assert running.final(task_id, "REVOKED").start is None
    running.final(first, "SUCCESS")
    entries = running.full.audit_log(action="revoke")
    assert {entry.task_ids[0] for entry in entries} >= {by_python, by_command, by_api, by_page}
    assert "ada" in {entry.actor for entry in entries}


def test_what_runs_is_terminated_and_the_worker_goes_on(
    running: workers.Scene, tmp_path: Path
) -> None:
    client = Client.with_token(create_app(running.full, users=USERS), TOKEN)
    browser = browsing.entered(running.app)

    def by_page(task_id: str) -> None:
        assert f"/terminate?id={task_id}" in browser.get(f"/task?id={task_id}").links
        form = browser.get(f"/terminate?id={task_id}").form("/terminate")
        browser.submit(form, signal="SIGKILL")

    doors = (
        running.full.terminate,
        lambda task_id: run(running.app, "terminate", task_id, "--yes", "--signal", "SIGKILL"),
        lambda task_id: told(client.post("terminate", {"ids": [task_id]})),
        by_page,
    )
    for door in doors:
        task_id = running.send("wait_for", str(tmp_path / "never"))
        running.eventually(task_id, workers.is_started)
        door(task_id)
        assert running.final(task_id, "REVOKED").start is not None

    assert len(running.full.audit_log(action="terminate")) == len(doors)
    running.final(running.send("add", 1, 2), "SUCCESS")


def test_what_runs_is_not_revoked_and_what_has_ended_is_not_stopped(
    running: workers.Scene, busy: tuple[str, Path]
) -> None:
    task_id, go = busy
    waits = running.send("add", 1, 2)

    with pytest.raises(CannotStop, match="runs on w1@test; terminate ends it"):
        running.full.revoke(task_id)
    with pytest.raises(CannotStop, match="does not run: it is PENDING"):
        running.full.terminate(waits)
    go.touch()
    running.final(task_id, "SUCCESS")
    running.final(waits, "SUCCESS")

    for stop in (running.full.revoke, running.full.terminate):
        with pytest.raises(CannotStop, match="SUCCESS"):
            stop(task_id)
    refused = [e for e in running.full.audit_log(action="revoke") if e.outcome == "failed"]
    assert task_id in refused[0].task_ids


def test_a_failure_whose_re_send_is_revoked_is_to_be_dealt_with_again(
    running: workers.Scene, tmp_path: Path
) -> None:
    failed = running.send("fail", "declined")
    running.final(failed, "FAILURE")
    go = tmp_path / "go"
    first = running.send("wait_for", str(go))
    running.eventually(first, workers.is_started)

    again = running.full.resend(failed).id
    is_left = [running.full.count(task_ids=[failed], unresolved=True)]
    running.full.revoke(again)
    is_left.append(running.full.count(task_ids=[failed], unresolved=True))
    go.touch()

    assert is_left == [0, 1]
    revoked = running.final(again, "REVOKED")
    assert (revoked.start, revoked.fingerprint) == (None, None)
    running.final(first, "SUCCESS")
