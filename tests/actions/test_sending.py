"""A task sent by hand, through every door: checked, sent as asked, in the audit log."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery

from fullresult.config.passwords import hash_token, new_token
from fullresult.record import SCHEDULED
from fullresult.storage import StorageError
from fullresult.web import create_app
from tests.kit import browsing
from tests.kit.api import Client
from tests.kit.commands import run


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    with browsing.shop(f"sqlite:///{tmp_path / 'memory.db'}") as app:
        yield app


def by_python(app: Celery, args: Any) -> str:
    return str(app.fullresult.send("shop.charge", args, {"amount": 2.5}).id)


def by_command(app: Celery, args: Any) -> str:
    given = ["--args", json.dumps(args), "--kwargs", '{"amount": 2.5}']
    result = run(app, "send", "shop.charge", *given)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def by_page(app: Celery, args: Any) -> str:
    browser = browsing.entered(app)
    form = browser.get("/send").form("/send")
    given = json.dumps(args)
    preview = browser.submit(form, name="shop.charge", args=given, kwargs='{"amount": 2.5}')
    assert "Send shop.charge ?" in preview.words
    assert browsing.sent(app) == []
    return browser.submit(preview.form("/send")).url.partition("/task?id=")[2]


@pytest.mark.parametrize("door", [by_python, by_command, by_page])
def test_a_task_is_sent_and_written_down(app: Celery, door: Any) -> None:
    task_id = door(app, [7])

    (message,) = browsing.sent(app)
    assert message == {"id": task_id, "args": [7], "kwargs": {"amount": 2.5}}
    assert app.fullresult.get(task_id).name == "shop.charge"
    (entry,) = app.fullresult.audit_log(action="send")
    assert (entry.task_ids, entry.outcome) == ((task_id,), "done")
    assert entry.details["name"] == "shop.charge"
    assert "2.5" not in json.dumps(entry.details)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that no process has imported yet; where it lies."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / f"tasks_{uuid4().hex}.py"


@pytest.mark.parametrize("door", ["command", "page"])
def test_a_task_of_a_module_that_only_workers_have_imported_is_sent(
    app: Celery, module: Path, door: str
) -> None:
    name = f"{module.stem}.add"
    kept = f"tests_of_{module.stem}"
    sys.modules[kept] = holder = ModuleType(kept)
    holder.app = app  # type: ignore[attr-defined]
    module.write_text(f"from {kept} import app\n@app.task(shared=False)\ndef add(a, b): ...\n")
    app.conf.include = [module.stem]
    try:
        if door == "command":
            assert run(app, "send", name, "--args", "[1, 2]").exit_code == 0
        else:
            browser = browsing.entered(app)
            page = browser.get(f"/send?name={name}")
            assert f'<option value="{name}">' in page.text
            assert f"{name}(a, b)" in page.words
            preview = browser.submit(page.form("/send"), args="[1, 2]")
            browser.submit(preview.form("/send"))
    finally:
        del sys.modules[kept]
        sys.modules.pop(module.stem, None)

    (message,) = browsing.sent(app)
    assert message["args"] == [1, 2]


def test_a_module_that_cannot_be_imported_is_named(app: Celery, module: Path) -> None:
    module.write_text("raise SystemExit('no licence')\n")
    app.conf.include = [module.stem]

    result = run(app, "send", "other.task")
    known = run(app, "send", "shop.charge", "--args", "[7]")

    assert (result.exit_code, "SystemExit: no licence" in result.output) == (1, True)
    assert known.exit_code == 0
    assert browsing.entered(app).get("/send").status == 200


@pytest.mark.parametrize(
    ("name", "args", "kwargs", "said"),
    [
        ("shop.chrage", "[1]", "", "did you mean shop.charge?"),
        ("celery.backend_cleanup", "", "", "no task of this app is called"),
        ("shop.charge", "[1, 2, 3]", "", "takes from 1 to 2 positional arguments"),
        ("shop.charge", "[1]", '{"amuont": 2}', "amuont"),
        ("shop.charge", "{}", "", "a JSON list"),
        ("shop.charge", "[1]", "[]", "a JSON object"),
        ("shop.charge", "[1", "", "no JSON"),
        ("shop.charge", '["<b>\\u202e"]', '{"x": NaN}', "no JSON"),
    ],
)
def test_what_cannot_be_sent_is_said_and_nothing_is(
    app: Celery, name: str, args: str, kwargs: str, said: str
) -> None:
    browser = browsing.entered(app)
    form = browser.get("/send").form("/send")

    page = browser.submit(form, name=name, args=args, kwargs=kwargs)
    given = [*(["--args", args] if args else []), *(["--kwargs", kwargs] if kwargs else [])]
    result = run(app, "send", name, *given)

    assert (page.status, said in page.words) == (400, True), page.words
    assert result.exit_code in (1, 2)
    assert said in " ".join(result.output.split()), result.output
    assert browsing.sent(app) == []
    assert app.fullresult.count() == 0


@pytest.mark.parametrize("name", ["shop.chrage", "shop.charge"])
def test_what_is_refused_is_written_down_whatever_the_door(app: Celery, name: str) -> None:
    """Also where the page that asked was changed after it was checked."""
    browser = browsing.entered(app)
    form = browser.get("/send").form("/send")
    confirmed = browser.submit(form, name="shop.charge", args="[1]").form("/send")
    refused = browser.submit(confirmed, name=name, args="[1, 2, 3]")
    form = browser.get("/send").form("/send")
    browser.submit(form, name=name, args="[1, 2, 3]")  # A preview is no deed.
    run(app, "send", name, "--args", "[1, 2, 3]")
    token = new_token()
    robot = {"robot": {"token": hash_token(token), "role": "operator"}}
    client = Client.with_token(create_app(app.fullresult, users=robot), token)
    answer = client.post("send", {"name": name, "args": [1, 2, 3]})

    assert refused.status == 400
    assert answer.status == (404 if name == "shop.chrage" else 400)
    log = app.fullresult.audit_log(action="send")
    assert [(each.outcome, each.details["by"]) for each in log[::-1]] == [
        *(("failed", "web"), ("failed", "command line"), ("failed", "web"))
    ]
    assert all(each.details["problem"] for each in log)
    assert browsing.sent(app) == []


def test_options_are_those_of_apply_async(app: Celery) -> None:
    result = run(app, "send", "shop.charge", "--args", "[1]", "--eta", "in 2h", "--queue", "urgent")
    sent = app.fullresult.get(result.stdout.strip())

    assert (sent.state, sent.queue) == (SCHEDULED, "urgent")
    refused = run(app, "send", "shop.charge", "--eta", "+1h")
    assert (refused.exit_code, "say 'in 1h'" in refused.output) == (2, True)


@pytest.mark.parametrize("error", [None, StorageError("away")])
def test_the_page_says_that_a_task_is_sent_whose_record_cannot_be_shown(
    app: Celery, error: StorageError | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = browsing.entered(app)
    form = browser.get("/send").form("/send")
    preview = browser.submit(form, name="shop.charge", args="[7]")

    def get(_: str) -> None:
        if error is not None:
            raise error

    with monkeypatch.context() as away:
        away.setattr(app.fullresult.storage, "get", get)
        page = browser.submit(preview.form("/send"))

    (message,) = browsing.sent(app)
    assert (page.status, "The task is sent" in page.words) == (200, True), page.words
    assert message["id"] in page.words
