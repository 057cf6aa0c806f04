"""Workers that live, or are gone, as their heartbeats tell of them, and what they began."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from fullresult.record import STARTED
from fullresult.record.card import Card, WorkerCard
from fullresult.record.worker import Worker
from fullresult.testing import samples

if TYPE_CHECKING:
    from celery import Celery

HOUR = timedelta(hours=1)


def working(app: Celery, name: str, pool: str = "prefork", *, alive: bool = True) -> None:
    """A worker as its heartbeat tells of it."""
    storage, now = app.fullresult.storage, app.fullresult.storage.now()
    seen = now if alive else now - HOUR
    storage.note_worker(Worker(name, name, now - 2 * HOUR, seen, seen + HOUR / 2))
    card = replace(Card(pool=pool), namespace=app.fullresult.settings.namespace)
    storage.note_card(WorkerCard(name, now, "n", card.text), "{}")


def begun(app: Celery, task_id: str, name: str) -> None:
    """A task that this worker began."""
    now = app.fullresult.storage.now()
    outcome = samples.outcome(STARTED, now, worker=name, date_started=now)
    event = samples.event(task_id, now, outcome=outcome._replace(stamp=f"{outcome.stamp}@{name}"))
    app.fullresult.storage.write([replace(event, message=samples.message(now))])
