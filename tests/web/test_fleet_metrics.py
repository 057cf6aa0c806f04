"""Workers, orphans and queues as Prometheus and the overview tell of them, with a real broker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from prometheus_client.parser import text_string_to_metric_families

from fullresult.record import STARTED
from fullresult.record.card import Card, WorkerCard
from fullresult.record.worker import Worker
from fullresult.testing import samples
from tests.kit import browsing
from tests.kit.browsing import Browser, charge

HOUR = timedelta(hours=1)


@pytest.fixture
def app(redis_url: str, tmp_path: Path) -> Iterator[Celery]:
    storage = f"sqlite:///{tmp_path}/records.db"
    with browsing.shop(storage, broker_url=redis_url, task_default_queue="celery") as app:
        yield app


@pytest.fixture
def browser(app: Celery) -> Browser:
    return browsing.entered(app)


def live(app: Celery, name: str, **known: Any) -> None:
    """A worker that lives, or did, and its card."""
    storage, now = app.fullresult.storage, app.fullresult.storage.now()
    storage.note_worker(Worker(name, name, now, now, now + HOUR)._replace(**known))
    card = replace(Card(queues=("celery",)), namespace=app.fullresult.settings.namespace)
    storage.note_card(WorkerCard(name, now, "n", card.text), "{}")


def ran_when_it_was_killed(app: Celery, worker: str, task_id: str) -> None:
    now = app.fullresult.storage.now()
    begun = samples.outcome(STARTED, now - HOUR, worker=worker, date_started=now - HOUR)
    stamped = begun._replace(stamp=f"{begun.stamp}@{worker}")
    event = samples.event(task_id, now - HOUR, outcome=stamped)
    app.fullresult.storage.write([replace(event, message=samples.message(now - HOUR))])


@pytest.fixture
def night(app: Celery) -> None:
    """One worker lives, one was killed with a task, and three wait, one of them for nobody."""
    ago = app.fullresult.storage.now() - HOUR
    live(app, "w1@a")
    live(app, "w2@b", date_seen=ago, alive_until=ago)
    ran_when_it_was_killed(app, "w2@b", "lost")
    charge(app, 2)
    charge(app, 1, queue="archive")


@pytest.mark.usefixtures("night")
def test_metrics_have_workers_orphans_and_queues(browser: Browser) -> None:
    found = {
        (sample.name, sample.labels.get("queue")): sample.value
        for family in text_string_to_metric_families(browser.get("/metrics").text)
        for sample in family.samples
    }

    assert found["fullresult_workers_alive", None] == 1
    assert found["fullresult_workers_gone", None] == 1
    assert found["fullresult_orphaned_tasks", None] == 1
    of_queue = {
        queue: {
            name: found[f"fullresult_queue_{name}", queue]
            for name in ("ready", "recorded", "consumers", "unconsumed", "in_per_minute")
        }
        for queue in ("celery", "archive")
    }
    assert of_queue == {
        "celery": {
            "ready": 2,
            "recorded": 2,
            "consumers": 1,
            "unconsumed": 0,
            "in_per_minute": pytest.approx(0.4),
        },
        "archive": {
            "ready": 1,
            "recorded": 1,
            "consumers": 0,
            "unconsumed": 1,
            "in_per_minute": pytest.approx(0.2),
        },
    }
    assert found["fullresult_queue_out_per_minute", "celery"] == 0
    assert 0 <= found["fullresult_queue_oldest_seconds", "celery"] < 60


@pytest.mark.usefixtures("night")
def test_the_overview_has_them_too(browser: Browser) -> None:
    words = browser.get("/overview").words

    assert "Workers 1 alive, 1 gone" in words
    assert "Orphans 1 ran on a worker that is gone" in words
