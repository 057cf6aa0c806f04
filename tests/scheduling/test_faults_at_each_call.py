"""An error at any call of the sweeper's threads ends neither the sweeper nor a claim."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery import Celery

from fullresult.scheduling.sender import Sender
from fullresult.scheduling.upkeep import Upkeep
from fullresult.storage import StorageError
from tests.kit.scheduling import (
    PATIENCE,
    app_on,
    claimed,
    left_claimed,
    overdue,
    received,
    until,
    waiting,
)

MANY = 10


@pytest.fixture
def app(storage_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """Its sweepers use both their threads, claim four at a time, and do not rest for long."""
    monkeypatch.setattr(Sender, "confirms", True)
    monkeypatch.setattr("fullresult.scheduling.sweeper._SHORTEST_PAUSE", 0.01)
    settings = {"fullresult_sweep_limit": 4, "fullresult_sweep_interval": 0.02}
    with app_on({"broker_url": "memory://"}, storage_url, **settings) as app:
        yield app


class Fault:
    """An error at the call of this number, whichever of the watched objects is called."""

    def __init__(self, number: int, error: Exception) -> None:
        self._number = number
        self._error = error
        self._calls = 0
        self.where = ""

    def at(self, name: str) -> None:
        self._calls += 1
        if self._calls == self._number:
            self.where = f"{threading.current_thread().name}: {name}"
            raise self._error


class Watched:
    """An object whose calls can fail before they do anything."""

    def __init__(self, real: Any, fault: Fault) -> None:
        self._real = real
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if not callable(found):
            return found

        def call(*given: Any, **options: Any) -> Any:
            self._fault.at(name)
            return found(*given, **options)

        return call


@pytest.mark.parametrize("number", range(1, 31))
@pytest.mark.parametrize("error", [StorageError("away"), ValueError("injected")], ids=repr)
def test_after_an_error_at_any_call_the_rest_is_sent_and_nothing_twice(
    app: Celery, error: Exception, number: int
) -> None:
    ids = [f"task {place}" for place in range(MANY)]
    for task_id in ids:
        overdue(app, task_id)
    fault = Fault(number, error)
    with running_with(app, fault):
        until(lambda: not waiting(app) and (fault.where or not claimed(app)))
        app.send_task("shop.charge", (7,), task_id="afterwards", countdown=0.05)
        until(lambda: "afterwards" not in [*waiting(app), *claimed(app)])

    arrived = Counter(received(app))
    left = claimed(app)
    assert set(arrived.values()) == {1}, fault.where
    assert {"afterwards", *ids} == {*arrived, *left}, fault.where
    # Where nobody can know if it was sent, or marking it is what fails: a batch at most.
    assert len(left) <= (0 if isinstance(error, StorageError) else 4), fault.where


@contextmanager
def running_with(app: Celery, fault: Fault) -> Iterator[None]:
    """A sweeper at work whose storage and sender are watched."""
    sweeper: Any = app.fullresult.parts.new_sweeper()
    sweeper._storage = sweeper._upkeep._storage = Watched(sweeper._storage, fault)
    sweeper._sender = Watched(sweeper._sender, fault)
    sweeper.start()
    try:
        yield
    finally:
        sweeper.stop()
        sweeper.join(PATIENCE)


def test_where_there_can_be_no_more_threads_the_batch_is_sent_and_marked(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(MANY):
        overdue(app, str(number))
    sweeper = app.fullresult.parts.new_sweeper()

    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        swept = sweeper.sweep()

    assert swept.sent == MANY
    assert (claimed(app), waiting(app)) == ([], [])


def test_one_record_that_cannot_be_read_does_not_keep_the_others_from_being_looked_after(
    app: Celery,
) -> None:
    for name in ("damaged", "sound"):
        left_claimed(app, name)
    asked: list[str] = []

    class Damaged(Watched):
        def get(self, task_id: str) -> None:
            asked.append(task_id)
            if task_id == "damaged":
                raise ValueError("no date: 31 February")

    storage: Any = Damaged(app.fullresult.storage, Fault(0, ValueError()))

    Upkeep(app.fullresult.settings, storage).do(lambda: None)

    assert sorted(asked) == ["damaged", "sound"]
