"""The sweeper's connection to RabbitMQ: one that takes no messages, or never says goodbye."""

from __future__ import annotations

import select
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery import Celery
from kombu import Exchange, Queue

from fullresult.scheduling.batch import Swept
from fullresult.scheduling.claim_term import Term
from fullresult.scheduling.sender import BrokerDown, Sender, Unconfirmed
from tests.kit import servers
from tests.kit.proxy import Delay, Proxy
from tests.kit.scheduling import (
    app_on,
    claimed,
    later,
    only,
    overdue,
    received,
    running,
    sweep,
    through_proxy,
    until,
    waiting,
)

PUBLISH = bytes([0, 60, 0, 40, 0, 0])
"""As AMQP writes basic.publish."""
GOODBYE = bytes([0, 10, 0, 50])
"""As it writes connection.close."""


@pytest.fixture
def between(rabbitmq_url: str) -> Iterator[tuple[Proxy, str]]:
    with through_proxy(rabbitmq_url) as (between, url):
        yield between, url


@pytest.fixture
def app(between: tuple[Proxy, str], storage_url: str) -> Iterator[Celery]:
    """One whose broker is behind the proxy."""
    with app_on({"broker_url": between[1]}, storage_url, fullresult_sweep_interval=0.05) as app:
        yield app


def takes_no_messages(seconds: float = 2) -> Callable[[bytes], Delay | None]:
    """RabbitMQ, short of memory or disk, reads no further until it has some again."""
    return lambda piece: Delay(seconds) if PUBLISH in piece else None


def test_a_broker_that_takes_no_messages_leaves_them_all_waiting(
    app: Celery, between: tuple[Proxy, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers all else, so that it seems well until something is sent."""
    monkeypatch.setattr("fullresult.scheduling.sender._TIMEOUT", 0.5)
    overdue(app, "one")
    between[0].plan = takes_no_messages()

    with pytest.raises(BrokerDown):
        sweep(app.fullresult)

    assert waiting(app) == ["one"]
    assert claimed(app) == []


def test_one_that_stops_taking_messages_costs_no_more_than_one_of_them(
    app: Celery, between: tuple[Proxy, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the one on its way nobody knows; the others are sent when it takes them again."""
    monkeypatch.setattr("fullresult.scheduling.sender._TIMEOUT", 0.5)
    with running(app) as sweeper:
        overdue(app, "before")
        until(lambda: sweeper.swept.sent == 1)
        between[0].plan = takes_no_messages(1)
        for number in range(5):
            overdue(app, f"meanwhile {number}")
        until(lambda: between[0].faults >= 3)
        between[0].heal()
        # Not before: a sweeper that ends gives back what it has claimed and not begun to send.
        until(lambda: sweeper.swept.sent + sweeper.swept.failed == 6)

    assert waiting(app) == []
    assert len(claimed(app)) <= 1
    assert sweeper.swept.sent >= 5


def test_a_user_who_may_not_use_the_default_exchange_is_answered_too(
    rabbitmq_server: servers.RabbitMQ, rabbitmq_url: str, tmp_path: Path
) -> None:
    """What the connection is tried with is refused, and that is an answer."""
    assert rabbitmq_server.management is not None
    permissions = f"permissions/{urllib.parse.urlsplit(rabbitmq_url).path[1:]}/guest"
    allowed = b'{"configure": ".*", "write": "^own$", "read": ".*"}'
    with app_on({"broker_url": rabbitmq_url}, f"sqlite:///{tmp_path}/tasks.db") as app:
        with app.connection_for_write() as connection:
            queue = Queue(app.conf.task_default_queue, Exchange("own"), routing_key="key")
            queue(connection.default_channel).declare()
        overdue(app, "one", exchange="own", routing_key="key")
        servers._manage(rabbitmq_server.management, "PUT", permissions, allowed)

        swept = sweep(app.fullresult)

        assert swept == Swept(1, 1)
        assert received(app) == ["one"]


def test_one_that_hangs_is_left_without_a_goodbye(
    app: Celery, between: tuple[Proxy, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fork of the worker may be waiting for it."""
    monkeypatch.setattr("fullresult.scheduling.sender._TIMEOUT", 1.0)
    later(app, "one")
    schedule, now = only(app, "one"), app.fullresult.storage.now()
    sender = Sender(app)
    sender.send(schedule, now, Term(lambda: now))
    between[0].plan = takes_no_messages(4)
    began = time.monotonic()

    with pytest.raises(Unconfirmed):
        sender.send(schedule, now, Term(lambda: now))

    assert time.monotonic() - began < 1.8


def test_one_that_is_well_is_told_goodbye(app: Celery, between: tuple[Proxy, str]) -> None:
    """Else RabbitMQ logs a warning for each connection."""
    pieces: list[bytes] = []
    between[0].plan = pieces.append
    overdue(app, "one")

    sweep(app.fullresult)

    assert any(GOODBYE in piece for piece in pieces)


def test_a_platform_without_poll_sends_all_the_same(
    app: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eventlet takes it away."""
    monkeypatch.delattr(select, "poll")
    overdue(app, "one")
    overdue(app, "two")

    swept = sweep(app.fullresult)

    assert swept == Swept(2, 2)
