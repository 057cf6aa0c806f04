"""`alert`: who is told, of what, and when it is over."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from fullresult.insight.alerts import Alerts, needs, silent_storage
from fullresult.storage import StorageError
from tests.kit import browsing
from tests.kit.commands import run
from tests.kit.heartbeats import begun, working

NOW = datetime(2026, 5, 4, 12, tzinfo=timezone.utc)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    with browsing.shop(f"sqlite:///{tmp_path / 'memory.db'}") as app:
        yield app


class Hook(BaseHTTPRequestHandler):
    """Takes what is posted, unless it is told to refuse."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        hooked: Any = self.server
        hooked.taken.append(json.loads(body))
        self.send_response(hooked.status)
        if hooked.status in (301, 302, 303):
            self.send_header("location", "/elsewhere")
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def hook() -> Iterator[Any]:
    server: Any = HTTPServer(("127.0.0.1", 0), Hook)
    server.taken, server.status = [], 204
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def url(hook: Any) -> str:
    return f"http://127.0.0.1:{hook.server_port}/secret"


def test_a_webhook_is_told_what_needs_somebody(app: Celery, hook: Any) -> None:
    browsing.failed(app, 2)
    working(app, "w1@gone", alive=False)
    begun(app, "a", "w1@gone")

    result = run(app, "alert", "--once", "--webhook", url(hook))

    assert result.exit_code == 3, result.output
    (told,) = hook.taken
    assert told["began"] == [
        "1 worker gone",
        "1 task on a worker that is gone",
        "2 tasks failed in the last day, not dealt with",
    ]
    assert told["text"].startswith("shop: 1 worker gone | 1 task on a worker")
    assert told["text"] in result.stdout


def test_nothing_is_told_where_nobody_is_needed(app: Celery, hook: Any) -> None:
    result = run(app, "alert", "--once", "--webhook", url(hook))

    assert (result.exit_code, result.stdout, hook.taken) == (0, "", [])


def test_a_command_gets_the_alert_as_its_input(app: Celery, tmp_path: Path) -> None:
    browsing.failed(app)
    kept = tmp_path / "told.json"
    program = f"{sys.executable} -c \"import sys; open(sys.argv[1], 'w').write(sys.stdin.read())\""

    result = run(app, "alert", "--once", "--command", f"{program} {kept}")

    assert result.exit_code == 3, result.output
    assert json.loads(kept.read_text())["began"][0].startswith("1 task failed")


def test_what_could_not_be_told_is_said_without_the_url(app: Celery, hook: Any) -> None:
    browsing.failed(app)
    hook.status = 500

    refused = run(app, "alert", "--once", "--webhook", url(hook))
    failed = run(app, "alert", "--once", "--command", f"{sys.executable} -c 1/0")
    absent = run(app, "alert", "--once", "--webhook", "http://127.0.0.1:9/secret")

    for result, said in ((refused, "the webhook"), (failed, "code 1"), (absent, "the webhook")):
        assert (result.exit_code, said in result.output) == (1, True), result.output
        assert "secret" not in result.output
    wrong = run(app, "alert", "--webhook", "file:///etc/passwd")
    assert (wrong.exit_code, "https://" in wrong.output) == (2, True)


@pytest.mark.parametrize(
    "wrong",
    [
        "https://ada:secret@chat.example.com/x",
        "https://chat.example.com:secret/x",
        "https://chat.example.com/sec ret/secret",
        "https://chat.example.com/\x1bsecret",
        "https:///secret",
    ],
)
def test_a_url_that_is_none_is_not_shown(app: Celery, wrong: str) -> None:
    browsing.failed(app)

    result = run(app, "alert", "--once", "--webhook", wrong)

    assert (result.exit_code, "--webhook: its URL" in result.output) == (2, True), result.output
    assert "secret" not in result.output


@pytest.mark.parametrize("wrong", ["", " ", "mail 'x"])
def test_a_command_that_is_none_is_wrong_usage(app: Celery, wrong: str) -> None:
    result = run(app, "alert", "--once", "--command", wrong)

    assert (result.exit_code, "--command" in result.output) == (2, True), result.output


def test_a_redirect_is_not_followed_since_the_alert_would_be_lost(app: Celery, hook: Any) -> None:
    browsing.failed(app)
    hook.status = 302

    result = run(app, "alert", "--once", "--webhook", f"{url(hook)}\n")

    assert (result.exit_code, "answered 302" in result.output) == (1, True), result.output
    assert len(hook.taken) == 1


def test_a_webhook_that_is_away_keeps_nothing_from_the_command(
    app: Celery, hook: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    browsing.failed(app)
    kept, looks = tmp_path / "told.json", list[float]()

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            hook.status = 204
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("fullresult.cli.commands.alert.sleep", sleep)
    hook.status = 503
    code = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + chr(10))"
    program = f'{sys.executable} -c "{code}" {kept}'

    result = run(app, "alert", "--webhook", url(hook), "--command", program)

    assert len(kept.read_text().splitlines()) == 1
    assert len(hook.taken) == 3
    assert result.stdout.count("failed in the last day") == 1


def test_what_hostile_names_of_queues_say_is_bounded(app: Celery) -> None:
    for number in range(20):
        browsing.charge(app, queue=f"q{number}" + "x" * 150)
    working(app, "w1@here")
    found = needs(app.fullresult.storage, app.fullresult.settings)

    alert = Alerts().look(NOW, found)

    assert len(found) == 20
    assert alert is not None
    assert len(alert.document("shop")["text"]) < 2_100


def test_a_name_of_a_queue_pings_nobody(app: Celery, hook: Any) -> None:
    """Not in the text, nor in a sentence: a workflow may show that one alone."""
    for name in ("<!channel>", "a @all b", "<@U012AB3CD>", "x@everyone"):
        browsing.charge(app, queue=name)
    working(app, "w1@here")

    run(app, "alert", "--once", "--webhook", url(hook))

    (told,) = hook.taken
    assert len(told["began"]) == 4
    assert "channel" in told["text"]
    assert set("@<>").isdisjoint(json.dumps(told, ensure_ascii=False))


def test_it_looks_again_and_tells_what_changed(
    app: Celery, hook: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (task_id,) = browsing.failed(app)
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 1:
            hook.status = 204
        if len(looks) == 3:
            app.fullresult.resend(task_id)
        if len(looks) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr("fullresult.cli.commands.alert.sleep", sleep)
    hook.status = 503

    run(app, "alert", "--webhook", url(hook), "--every", "30s")

    assert looks == [30.0] * 4
    refused, told, over = hook.taken
    assert refused["began"] == told["began"] == over["over"]
    assert over["began"] == []


def test_of_a_silent_storage_nothing_else_is_over() -> None:
    alerts, away = Alerts(), silent_storage(StorageError("no route"))
    alerts.told({"stale": "1 task stale"})

    first = alerts.look(NOW, away)
    alerts.told(away)
    again = alerts.look(NOW, away)
    back = alerts.look(NOW, {"stale": "2 tasks stale"})

    assert first is not None
    assert (first.began, first.over) == (("the storage does not answer: no route",), ())
    assert again is None
    assert back is not None
    assert (back.over, back.goes_on) == (first.began, ("2 tasks stale",))


def test_a_queue_that_nobody_consumes_is_told(app: Celery) -> None:
    browsing.charge(app, queue="archive")
    working(app, "w1@here")

    assert needs(app.fullresult.storage, app.fullresult.settings) == {
        "queue archive": "No living worker consumes archive, as far as is known."
    }
