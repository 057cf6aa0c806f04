"""Workers that live, or are gone, as their heartbeats tell of them, and what they began."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from fullresult.record import STARTED
from fullresult.record.card import Card, WorkerCard
from fullresult.record.worker import Worker
from fullresult.testing import samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


@contextmanager
def confirming(
    app: Celery, name: str = "w1@here", before: Callable[[str], object] | None = None
) -> Iterator[list[str]]:
    """A worker that lives, and confirms every revoke; the ids that it was told to drop.

    It is a node of Celery's mailbox on the app's broker, and runs nothing: *before* is called with
    each id before it confirms.
    """
    told: list[str] = []
    ended = threading.Event()

    def revoke(_: object, task_id: str | list[str], **__: object) -> dict[str, str]:
        for each in [task_id] if isinstance(task_id, str) else task_id:
            told.append(each)
            if before is not None:
                before(each)
        return {"ok": "tasks flagged as revoked"}

    def listen() -> None:
        with app.connection_for_read() as connection, connection.channel() as channel:
            node = app.control.mailbox.Node(name, channel=channel, handlers={"revoke": revoke})
            with node.listen(callback=node.handle_message):
                is_there.set()
                while not ended.is_set():
                    with suppress(TimeoutError):
                        connection.drain_events(timeout=0.05)

    is_there, thread = threading.Event(), threading.Thread(target=listen)
    working(app, name)
    thread.start()
    try:
        assert is_there.wait(30)
        yield told
    finally:
        ended.set()
        thread.join(30)
