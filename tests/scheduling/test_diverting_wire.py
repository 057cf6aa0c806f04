"""What was scheduled, as a broker sees it when it is sent: what stock Celery would have sent."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from celery import Celery
from kombu import Queue

from fullresult import FullResult
from tests.actions.test_resend_wire import (
    COMPRESSIONS,
    DIRECT,
    OF_KOMBU,
    PRIORITY,
    QUEUE,
    SERIALIZERS,
    TOPIC,
    VALUES,
    Broker,
    RabbitMQ,
    Raw,
    Redis,
    plain,
)
from tests.kit.scheduling import sweep

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOUR = 3600
MAY_DIFFER = ("eta", "expires")
OURS = "fullresult_schedule_id"


class Wire(NamedTuple):
    """A real broker, an app of stock Celery, and one that diverts."""

    broker: Broker
    stock: Celery
    app: Celery

    def both(self, *, taken_from: str = QUEUE, **how: Any) -> tuple[Raw, Raw]:
        """The message of a task by stock Celery, and ours when it is due."""
        how = {"countdown": HOUR, "task_id": "one", "reply_to": "answers", **how}
        self.stock.send_task("shop.ship", **how)
        expected = self.broker.take(taken_from)
        self.app.send_task("shop.ship", **how)
        full: FullResult = self.app.fullresult
        assert full.reschedule("one", full.storage.now() - timedelta(seconds=1))
        assert sweep(full).sent == 1
        return expected, self.broker.take(taken_from)


@pytest.fixture(params=["redis", "rabbitmq"])
def wire(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Wire]:
    url = request.getfixturevalue(f"{request.param}_url")
    broker: Broker = Redis(url) if request.param == "redis" else RabbitMQ(url)
    apps = [Celery(name, broker=url, set_as_current=False) for name in ("stock", "ours")]
    for app in apps:
        app.conf.task_default_queue = QUEUE
        app.conf.task_queues = [Queue(QUEUE), DIRECT, TOPIC, PRIORITY]
    stock, ours = apps
    ours.conf.fullresult_storage = f"sqlite:///{tmp_path}/records.db"
    ours.conf.fullresult_schedule_eta = True
    with closing(FullResult(ours)), closing(ours), closing(stock):
        yield Wire(broker, stock, ours)


def comparable(raw: Raw) -> Raw:
    """A message without its dates, and without the transport's own number for it."""
    headers = [
        (name, None if name in MAY_DIFFER else value) for name, value in raw.headers if name != OURS
    ]
    properties = {k: v for k, v in raw.properties.items() if k != "delivery_tag"}
    return Raw(raw.body, headers, properties)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_what_is_sent_when_it_is_due_is_what_celery_would_have_sent(
    wire: Wire, serializer: str, compression: str | None
) -> None:
    """The same bytes, the same headers in their order, the same properties."""
    expected, sent = wire.both(
        args=VALUES[serializer],
        kwargs={"order_id": 7, "note": "x" * 300},
        serializer=serializer,
        compression=compression,
        headers={"tenant": "acme", "trace": {"id": "00-ab", "flags": [1, 2]}, "empty": None},
        shadow="shop.ship to Iceland",
        time_limit=30,
        soft_time_limit=20,
        link=plain(wire.app.signature("shop.bill", args=(1,), kwargs={"a": 2})),
        link_error=[plain(wire.app.signature("shop.cry"))],
        chain=[plain(wire.app.signature("shop.next"))],
        chord=plain(wire.app.signature("shop.sum")),
        group_id="group",
        group_index=3,
        root_id="root",
        parent_id="parent",
        retries=2,
        stamped_headers=["tenant", "who"],
        who=["me", "you"],
        tenant="stamped",
        delivery_mode=1,
        ignore_result=True,
    )

    assert comparable(sent) == comparable(expected)
    assert expected.header["eta"] is not None
    assert sent.header["eta"] is None
    assert sent.header[OURS]


def test_the_values_of_kombus_json_come_through(wire: Wire) -> None:
    """Dates, decimals, UUIDs and bytes."""
    expected, sent = wire.both(args=OF_KOMBU)

    assert comparable(sent) == comparable(expected)


@pytest.mark.parametrize("priority", [None, 0, 4, 9])
def test_priority_is_kept(wire: Wire, priority: int | None) -> None:
    expected, sent = wire.both(taken_from="urgent", queue="urgent", priority=priority)

    assert comparable(sent) == comparable(expected)


@pytest.mark.parametrize(
    ("queue", "route"),
    [
        ("letters", {"exchange": "post", "routing_key": "letter"}),
        ("letters", {"exchange": DIRECT.exchange, "routing_key": "letter"}),
        ("stamps", {"exchange": "hobby", "routing_key": "stamp.red", "declare": [TOPIC]}),
        ("stamps", {"exchange": TOPIC.exchange, "routing_key": "stamp.a.b", "declare": [TOPIC]}),
        (QUEUE, {"exchange": "", "routing_key": QUEUE}),
    ],
    ids=str,
)
def test_routing_is_kept(wire: Wire, queue: str, route: dict[str, Any]) -> None:
    """By a direct exchange, a topic exchange, the default one."""
    with wire.stock.connection_for_write() as connection:
        for each in (DIRECT, TOPIC, Queue(QUEUE)):
            each(connection.default_channel).declare()

    expected, sent = wire.both(taken_from=queue, **route)

    assert comparable(sent) == comparable(expected)


@pytest.mark.parametrize("queue", ["letters", "stamps", "urgent", "made.for.it"])
def test_a_queue_that_is_named_gets_it(wire: Wire, queue: str) -> None:
    expected, sent = wire.both(taken_from=queue, queue=queue)

    assert comparable(sent) == comparable(expected)


def test_what_declares_an_exchange_goes_to_the_broker(wire: Wire) -> None:
    """It is not kept; and on redis a message to an exchange that nobody declared is lost."""
    with wire.app.connection_for_write() as connection:
        TOPIC(connection.default_channel).declare()

    wire.app.send_task(
        "shop.ship",
        exchange="hobby",
        routing_key="stamp.red",
        declare=[TOPIC.exchange],
        countdown=HOUR,
    )

    assert wire.app.fullresult.scheduled() == []
    assert wire.broker.take("stamps").header["eta"] is not None


def test_it_expires_when_it_was_to_expire(wire: Wire) -> None:
    """The header says when, and the property how long it lives from now on."""
    expires = datetime.now(timezone.utc) + timedelta(hours=2)

    expected, sent = wire.both(expires=expires)

    assert sent.header["expires"] == expected.header["expires"] == expires.isoformat()
    stock, ours = (float(raw.properties.pop("expiration")) for raw in (expected, sent))
    assert 0 <= stock - ours < 60_000
    assert comparable(sent) == comparable(expected)


def test_what_the_configuration_said_then_counts(wire: Wire) -> None:
    for app in (wire.stock, wire.app):
        app.conf.update(task_serializer="yaml", task_compression="zlib")
    how: dict[str, Any] = {"countdown": HOUR, "task_id": "one", "reply_to": "answers"}
    wire.stock.send_task("shop.ship", [1], **how)
    wire.app.send_task("shop.ship", [1], **how)
    wire.app.conf.update(task_serializer="json", task_compression=None, task_default_queue="other")

    full: FullResult = wire.app.fullresult
    full.resend_scheduled("one")

    expected, sent = wire.broker.take(), wire.broker.take()
    assert sent.header["compression"]
    assert comparable(sent) == comparable(expected)
