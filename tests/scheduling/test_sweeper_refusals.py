"""A queue that takes no messages holds up its own tasks, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from celery import Celery
from kombu import Queue

from fullresult.scheduling.sender import BrokerDown
from tests.kit.scheduling import (
    SECOND,
    app_on,
    claimed,
    overdue,
    received,
    running,
    sweep,
    until,
    waiting,
)

FULL = "no room here"


@contextmanager
def _blocked(app: Celery) -> Iterator[None]:
    """Have the broker refuse what goes to the queue `FULL`, until the end of the block."""
    arguments = {"x-max-length": 0, "x-overflow": "reject-publish"}
    with app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        Queue(FULL, queue_arguments=arguments, routing_key=FULL)(channel).declare()
        yield
        channel.queue_delete(FULL)


@pytest.fixture
def app(rabbitmq_url: str, storage_url: str) -> Iterator[Celery]:
    with ExitStack() as stack:
        app = stack.enter_context(app_on({"broker_url": rabbitmq_url}, storage_url))
        stack.enter_context(_blocked(app))
        yield app


def test_what_goes_to_other_queues_is_sent_all_the_same(app: Celery) -> None:
    for number in range(3):
        overdue(app, f"refused {number}", by=5 * SECOND, queue=FULL)
        overdue(app, f"taken {number}")

    with pytest.raises(BrokerDown):
        sweep(app.fullresult)

    assert sorted(received(app)) == ["taken 0", "taken 1", "taken 2"]
    assert sorted(waiting(app)) == ["refused 0", "refused 1", "refused 2"]
    assert claimed(app) == []


def test_the_next_claims_are_larger_until_they_reach_other_queues(app: Celery) -> None:
    for number in range(35):
        overdue(app, f"refused {number}", by=5 * SECOND, queue=FULL)
    overdue(app, "taken")
    sweeper = app.fullresult.parts.new_sweeper()

    for _ in range(3):
        with pytest.raises(BrokerDown):
            sweeper.sweep()
    sweeper.close()

    assert received(app) == ["taken"]
    assert len(waiting(app)) == 35


def test_when_the_queue_takes_messages_again_they_are_sent(
    rabbitmq_url: str, storage_url: str
) -> None:
    with app_on({"broker_url": rabbitmq_url}, storage_url) as app:
        with _blocked(app):
            overdue(app, "refused", queue=FULL)
            with pytest.raises(BrokerDown):
                sweep(app.fullresult)

        with running(app) as sweeper:
            until(lambda: sweeper.swept.sent == 1)

        assert received(app, FULL) == ["refused"]
