"""Queues that are paused and resumed, through each door, and what is said of them then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from fullresult import CannotPause, FullResult
from fullresult.actions import pausing
from fullresult.config.passwords import hash_token, new_token
from fullresult.insight.alerts import needs
from fullresult.insight.needing import needing
from fullresult.insight.queues import QueueSeen, left_alone
from fullresult.record import Pause
from fullresult.record.card import Card, WorkerCard
from fullresult.record.worker import Worker
from fullresult.web import create_app
from tests.kit import browsing
from tests.kit.api import Client, told
from tests.kit.commands import run

HOUR = timedelta(hours=1)
TOKEN = new_token()
USERS = {
    "robot": {"token": hash_token(TOKEN), "role": "operator"},
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker is there that could answer."""
    monkeypatch.setattr(pausing, "_WAIT", 0.05)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[FullResult]:
    with browsing.shop(f"sqlite:///{tmp_path}/records.db") as app, closing(app):
        yield app.fullresult


def lives(full: FullResult, name: str, *queues: str, paused: tuple[str, ...] = ()) -> None:
    """A worker that lives, with its card."""
    storage: Any = full.storage
    now = storage.now()
    storage.note_worker(Worker(name, name, now, now, now + HOUR))
    card = Card(queues=queues, paused=paused, namespace=full.settings.namespace)
    storage.note_card(WorkerCard(name, now, "n", card.text), "{}")


def media(full: FullResult) -> QueueSeen:
    return next(each for each in full.queues(offline=True).queues if each.name == "media")


def paused_since(full: FullResult, length: timedelta, **known: Any) -> None:
    storage: Any = full.storage
    since = full.storage.now() - length
    values = {"until": None, "actor": "ann", "reason": "disk full", **known}
    storage.keep_pause(
        Pause(namespace=full.settings.namespace, queue="media", since=since, **values)
    )


def actions(full: FullResult) -> list[tuple[str, str, str]]:
    log = reversed(full.audit_log())
    return [(each.action, each.actor, each.outcome) for each in log if "queue" in each.action]


def test_python_and_the_command_line_pause_and_resume(full: FullResult) -> None:
    lives(full, "w1@a", "media")

    full.pause_queue("media", reason="disk full", lasts="2h", actor="ann")
    seen = media(full).paused
    by_python = full.storage.find_pauses()  # type: ignore[attr-defined]
    full.resume_queue("media", actor="bob")
    done = run(full.app, "queues", "pause", "media", "--yes", "--reason", "deploy", "--json")
    listed = run(full.app, "queues", "--offline")
    resumed = run(full.app, "queues", "resume", "media")

    assert seen is not None
    assert (seen.actor, seen.reason, seen.until) == ("ann", "disk full", seen.since + 2 * HOUR)
    assert seen.consuming == ("w1@a",)
    assert [each.queue for each in by_python] == ["media"]
    assert json.loads(done.stdout) == {
        "queue": "media",
        "paused": True,
        "strangers": [],
        "problem": None,
        "asks_within": full.settings.heartbeat.total_seconds(),
    }
    assert "media is paused by " in listed.stderr
    assert "(deploy); 0 of 1 worker has stopped; w1@a still consumes it." in listed.stderr
    assert (resumed.exit_code, resumed.stdout) == (0, "media is not paused any more.\n")
    assert media(full).paused is None
    assert [each[::2] for each in actions(full)] == [
        ("pause-queue", "done"),
        ("resume-queue", "done"),
    ] * 2
    assert [each[1] for each in actions(full)][:2] == ["ann", "bob"]


def test_what_cannot_be_is_refused_and_in_the_audit_log(full: FullResult) -> None:
    lives(full, "w1@a", "media")

    with pytest.raises(CannotPause, match=r"no queue 'medai' is known: .*; did you mean media\?"):
        full.pause_queue("medai")
    with pytest.raises(CannotPause, match="queue 'media' is not paused"):
        full.resume_queue("media")
    with pytest.raises(CannotPause, match="must last some time"):
        full.pause_queue("media", lasts=timedelta(0))
    refused = run(full.app, "queues", "pause", "medai", "--yes")

    assert refused.exit_code == 1
    assert refused.stderr.startswith("Error: no queue 'medai' is known")
    assert {each[2] for each in actions(full)} == {"failed"}
    assert len(actions(full)) == 4


def test_a_pause_that_somebody_does_not_follow_is_a_problem_after_a_minute(
    full: FullResult,
) -> None:
    lives(full, "w1@a", "celery", paused=("media",))
    lives(full, "w2@a", "media")
    paused_since(full, timedelta(seconds=30))
    young = media(full)
    paused_since(full, timedelta(minutes=3))
    old = media(full)
    lives(full, "w2@a", paused=("media",))
    followed = media(full)

    said = "(disk full); 1 of 2 workers have stopped; w2@a still consumes it."
    assert young.problem is None
    assert old.paused is not None
    assert old.problem == old.paused.sentence
    assert old.problem.startswith("media is paused by ann since 3 m 0")
    assert old.problem.endswith(said)
    assert followed.problem is None
    assert followed.paused is not None
    assert followed.paused.holds
    assert followed.paused.sentence.endswith("(disk full); 2 workers have stopped.")


def test_a_pause_of_another_broker_or_that_is_over_is_none(full: FullResult) -> None:
    lives(full, "w1@a", "media")
    paused_since(full, 2 * HOUR, until=full.storage.now() - HOUR)
    over = media(full).paused
    storage: Any = full.storage
    [pause] = storage.find_pauses()
    storage.end_pause(pause.namespace, "media")
    storage.keep_pause(pause._replace(namespace="redis://elsewhere/0", until=None))

    assert over is None
    assert media(full).paused is None
    assert needing(full.storage, full.settings).paused == 0


def test_the_pause_is_the_reason_why_a_task_waits_wherever_that_is_asked(
    full: FullResult,
) -> None:
    lives(full, "w1@a", "celery", paused=("media",))
    task_id = full.app.send_task("shop.store", (1,), queue="media").id
    record = full.get(task_id)
    assert record is not None
    before = full.explain(task_id, offline=True).verdict
    paused_since(full, timedelta(minutes=3))

    found = full.explain(task_id, offline=True)

    assert before == "nobody consumes its queue"
    assert found.verdict == "queue is paused"
    assert found.sentence.startswith("Its queue media is paused by ann since 3 m 0")
    assert found.sentence.endswith(" (disk full); 1 worker has stopped.")
    assert found.commands == ("celery -A proj fullresult queues resume media",)
    assert {"nobody consumes its queue"}.isdisjoint(each.verdict for each in found.also)
    [alone] = left_alone(full.storage, full.settings, [record])
    assert alone.startswith("media is paused by ann")
    told_of = needs(full.storage, replace(full.settings, stale_after=HOUR))
    assert told_of["paused media"].startswith("media is paused by ann")
    assert needing(full.storage, full.settings).paused == 1


def test_the_pages_pause_and_resume(full: FullResult) -> None:
    lives(full, "w1@a", "media")
    # No argument can be called so.
    soon: dict[str, Any] = {"for": "soon"}
    hours: dict[str, Any] = {"for": "2h"}
    browser = browsing.entered(full.app)
    assert "/pause-queue?queue=media" in browser.get("/queues").links

    form = browser.get("/pause-queue?queue=media").form("/pause-queue")
    wrong = browser.submit(form, reason="<b>full</b>", **soon)
    form = wrong.form("/pause-queue")
    after = browser.submit(form, **hours)
    counted = browser.get("/counts").text
    metrics = browser.get("/metrics").text
    resumed = browser.submit(browser.get("/pause-queue?queue=media").form("/pause-queue"))

    assert wrong.status == 400
    assert after.url.endswith("/queues")
    assert "media paused" in after.words
    assert "(<b>full</b>); 0 of 1 worker has stopped; w1@a still consumes it." in after.words
    assert "<b>full" not in after.text
    assert json.loads(counted)["queues"] == "1"
    assert 'fullresult_queue_paused{queue="media"} 1.0' in metrics
    assert "paused by" not in resumed.words
    assert {each[2] for each in actions(full)} == {"done"}


def test_the_http_api_pauses_and_resumes(full: FullResult) -> None:
    lives(full, "w1@a", "media")
    client = Client.with_token(create_app(full, users=USERS), TOKEN)

    refused = client.post("queues/pause", {"queue": "medai"})
    paused = told(client.post("queues/pause", {"queue": "media", "reason": "x", "for": "2h"}))
    listed = told(client.get("queues", {"offline": "true"}))
    resumed = told(client.post("queues/resume", {"queue": "media"}))

    assert refused.status == 400
    assert (paused["queue"], paused["paused"], resumed["paused"]) == ("media", True, False)
    [seen] = [each["paused"] for each in listed["queues"] if each["name"] == "media"]
    assert (seen["actor"], seen["reason"], seen["holds"]) == ("robot", "x", False)


def test_a_broker_that_is_away_does_not_undo_a_pause(tmp_path: Path) -> None:
    with closing(Celery("shop", broker="redis://127.0.0.1:1/0", set_as_current=False)) as app:
        app.conf.fullresult_storage = f"sqlite:///{tmp_path}/records.db"
        with closing(FullResult(app)) as full:
            full.setup()

            told = full.pause_queue("celery", actor="ann")

            assert told.problem is not None
            assert "refused" in told.problem
            [entry] = full.audit_log(action="pause-queue")
            assert (entry.outcome, "not_told" in entry.details) == ("done", True)
            [seen] = full.queues(offline=True).queues
            assert seen.paused is not None
