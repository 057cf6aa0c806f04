"""What waits in an outbox is listed, cancelled, moved and released like any schedule, and named."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from celery import Celery

from fullresult import FullResult
from tests.kit import browsing
from tests.kit.commands import run
from tests.kit.scheduling import waiting


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Celery]:
    with browsing.shop(f"sqlite:///{tmp_path}/shop.db", fullresult_outbox=True) as app:
        file = sqlite3.connect(tmp_path / "shop.db")
        with closing(file), file, app.fullresult.outbox(file):
            app.send_task("shop.charge", (1,), task_id="a", countdown=3600)
        yield app


def test_commands_say_that_a_task_is_in_an_outbox(app: Celery) -> None:
    status = run(app, "scheduled").stdout.split("\t")[4]
    (document,) = json.loads(run(app, "show", "a", "--json").stdout)["schedules"]

    shown = run(app, "show", "a").stdout
    explained = run(app, "explain", "a").stdout

    assert status == "waits, outbox"
    assert re.search(r"outbox +yes", shown)
    assert "in an outbox" in explained
    assert (document["outbox"], document["at_least_once"]) == (True, False)


def test_pages_say_so_too(app: Celery) -> None:
    page = browsing.entered(app).get("/scheduled")

    assert "waits outbox" in " ".join(page.words.split())


def test_it_can_be_moved_and_cancelled(app: Celery) -> None:
    full: FullResult = app.fullresult
    moved = full.reschedule("a", full.storage.now() + timedelta(hours=5))
    (schedule,) = full.scheduled()
    cancelled = full.cancel("a")
    record = full.get("a")

    assert moved
    assert schedule.is_in_outbox
    assert cancelled
    assert waiting(app) == []
    assert record is not None
    assert record.state == "REVOKED"


def test_a_claim_on_it_is_stale_and_can_be_released(app: Celery) -> None:
    full: FullResult = app.fullresult
    storage, now = full.parts.schedule_storage, full.storage.now()
    long_ago = now - timedelta(hours=2)
    full.reschedule("a", long_ago)
    storage.claim_due(full.settings.namespace, long_ago, "dead", 1)

    (stale,) = full.get_stale_scheduled_tasks()
    late = run(app, "overview").output
    client = browsing.entered(app)
    metrics, overview = client.get("/metrics").text, client.get("/overview").text
    released = full.release("a")

    assert stale.is_in_outbox
    assert "1 overdue and not sent (1 in an outbox)" in " ".join(late.split())
    assert "fullresult_stale_outbox_tasks 1.0" in metrics
    assert "1 in an outbox" in overview
    assert released
    assert waiting(app) == ["a"]
