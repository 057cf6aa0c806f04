"""The examples of `docs/failures.md` do what the page says."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from fullresult.record import Worker, WorkerCard
from fullresult.record.card import Card
from tests.kit import browsing
from tests.kit.commands import run

PAGE = (Path(__file__).parents[2] / "docs" / "failures.md").read_text(encoding="utf-8")
COMMANDS = [
    line.removeprefix("celery -A proj fullresult ")
    for block in re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
(PYTHON,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
GROUP = "1-703ce3170eeab6b7"


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    """An app with two failures of one cause, in the release 4.2."""
    with browsing.shop(f"sqlite:///{tmp_path / 'memory.db'}") as app:
        storage = app.fullresult.storage
        now = storage.now()
        storage.note_worker(Worker("w", "w1@host", now, now, now, None))
        storage.note_card(WorkerCard("w", now, "n", Card(release="4.2").text), "{}")
        browsing.failed(app, 2)
        yield app


def group_of(app: Celery) -> str:
    (group,) = app.fullresult.failures.find(all=True)
    return str(group.fingerprint)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_runs(app: Celery, command: str) -> None:
    arguments = [group_of(app) if word == GROUP else word for word in shlex.split(command)]

    result = run(app, *arguments, answer="y")

    assert result.exit_code == (3 if "--fail" in arguments else 0), result.output
    assert result.stdout


def test_the_page_in_python_runs(app: Celery, capsys: pytest.CaptureFixture[str]) -> None:
    group = group_of(app)

    exec(PYTHON.replace(GROUP, group), {"full": app.fullresult})

    assert capsys.readouterr().out == f"{group} shop.charge ValueError 2 2\n"
    assert app.fullresult.failures.find()[0].standing == "open"
    assert [entry.action for entry in app.fullresult.audit_log()] == ["reopen", "mute", "resolve"]


def test_a_release_that_brought_nothing_new_lets_a_deploy_pass(app: Celery) -> None:
    storage = app.fullresult.storage
    now = storage.now()
    storage.note_worker(Worker("x", "x1@host", now, now, now, None))
    storage.note_card(WorkerCard("x", now, "n", Card(release="4.3").text), "{}")

    assert run(app, "failures", "--new-since", "4.3", "--fail").exit_code == 0
    assert run(app, "failures", "--new-since", "4.2", "--fail").exit_code == 3
