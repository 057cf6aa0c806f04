"""What was sent is marked while more is sent, and none of it is forgotten."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from fullresult.scheduling.sender import BrokerDown, Sender
from fullresult.scheduling.side_thread import SideThread
from fullresult.storage import StorageError
from tests.kit.scheduling import Flaky, app_on, claimed, overdue, received, until, waiting

MANY = 20


@pytest.fixture
def app(storage_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    """Its sweepers claim no more than four at a time, from a broker as slow as AMQP's."""
    monkeypatch.setattr(Sender, "confirms", True)
    broker = {"broker_url": "memory://"}
    with app_on(broker, storage_url, fullresult_sweep_limit=4) as app:
        yield app


def fill(app: Celery) -> list[str]:
    ids = [f"task {number}" for number in range(MANY)]
    for task_id in ids:
        overdue(app, task_id)
    return ids


def marks(flaky: Flaky) -> list[int]:
    """How many schedules each call of `mark_sent` was for."""
    return [len(given[1]) for name, given in flaky.calls if name == "mark_sent"]


def test_all_that_is_sent_is_marked_batch_by_batch(app: Celery) -> None:
    flaky = Flaky.under(app)
    ids = fill(app)

    swept = app.fullresult.parts.new_sweeper().sweep()

    assert swept.sent == MANY
    assert (claimed(app), waiting(app)) == ([], [])
    assert sorted(received(app)) == sorted(ids)
    assert sum(marks(flaky)) == MANY
    assert max(marks(flaky)) <= 4
    assert {app.fullresult.get(task_id).state for task_id in ids} == {"SCHEDULED_SENT"}


def test_a_sweep_of_some_leaves_none_unmarked(app: Celery) -> None:
    fill(app)

    assert app.fullresult.parts.new_sweeper().sweep(8).sent == 8

    assert claimed(app) == []
    assert len(waiting(app)) == MANY - 8


def test_what_could_not_be_marked_is_marked_before_anything_else_is_sent(app: Celery) -> None:
    flaky = Flaky.under(app)
    fill(app)
    flaky.fail("mark_sent", times=2)
    sweeper = app.fullresult.parts.new_sweeper()

    with pytest.raises(StorageError):
        sweeper.sweep()
    sent = received(app)
    left = claimed(app)
    sweeper.sweep()

    assert len(left) <= 12  # what is being sent, what was sent before it, and what was to follow
    assert len(sent) + len(received(app)) == MANY
    assert (claimed(app), waiting(app)) == ([], [])


def test_a_sweeper_that_is_stopped_leaves_none_unmarked(app: Celery) -> None:
    ids = fill(app)
    sweeper = app.fullresult.parts.new_sweeper()
    sweeper.start()
    until(lambda: sweeper.swept.sent > 0)

    sweeper.stop()
    sweeper.join(10)

    assert claimed(app) == []
    assert sorted(received(app) + waiting(app)) == sorted(ids)


def test_what_was_claimed_ahead_is_given_back_where_the_broker_goes_away(app: Celery) -> None:
    ids = fill(app)
    sweeper = app.fullresult.parts.new_sweeper()
    sweeper._size = 4
    gone = BrokenAfter(sweeper._sender, 6)
    sweeper._sender = gone

    with pytest.raises(BrokerDown):
        sweeper.sweep()

    assert claimed(app) == []
    assert sorted(received(app) + waiting(app)) == sorted(ids)


def test_what_was_claimed_ahead_too_long_ago_is_not_sent(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody may have given it to another sweeper by then."""
    fill(app)
    monkeypatch.setattr("fullresult.scheduling.sweeper._AHEAD", -1.0)

    assert app.fullresult.parts.new_sweeper().sweep().sent == MANY

    assert len(received(app)) == MANY
    assert (claimed(app), waiting(app)) == ([], [])


class BrokenAfter:
    """A sender whose broker goes away after so many messages."""

    def __init__(self, sender: Sender, left: int) -> None:
        self._sender = sender
        self._left = left

    def send(self, *given: Any) -> bool:
        if not self._left:
            raise BrokerDown("gone")
        self._left -= 1
        return self._sender.send(*given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sender, name)


def test_something_goes_on_beside_its_caller() -> None:
    begun, may_end = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert may_end.wait(10)

    side = SideThread()
    side.start(work)
    assert begun.wait(10)
    may_end.set()
    side.join()

    assert not any(thread.name == "fullresult-side" for thread in threading.enumerate())


def test_what_the_storage_refuses_meanwhile_is_not_said_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail() -> None:
        raise StorageError("away")

    side = SideThread()
    side.start(fail)
    side.join()

    assert caplog.text == ""
