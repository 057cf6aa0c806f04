"""Re-sending, as a broker sees it: both messages are taken off the wire raw, and compared."""

from __future__ import annotations

import base64
import json
import time
from contextlib import closing
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import urlsplit
from uuid import UUID

import amqp
import pytest
import redis
from celery import VERSION, Celery, group
from kombu import Exchange, Queue, pools

from fullresult import FullResult

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUEUE = "parcels"
DIRECT = Queue("letters", Exchange("post", type="direct"), routing_key="letter")
TOPIC = Queue("stamps", Exchange("hobby", type="topic"), routing_key="stamp.#")
PRIORITY = Queue("urgent", Exchange("urgent"), routing_key="urgent", max_priority=9)

SERIALIZERS = ("json", "pickle", "msgpack", "yaml")
COMPRESSIONS = (None, "zlib", "bzip2")


class Raw(NamedTuple):
    """A message as it lies in its broker."""

    body: bytes
    headers: list[tuple[str, Any]]
    """In their order."""
    properties: dict[str, Any]

    @property
    def header(self) -> dict[str, Any]:
        return dict(self.headers)


class Broker(Protocol):
    """A real broker whose messages can be taken without Celery or kombu."""

    url: str

    def take(self, queue: str = QUEUE) -> Raw:
        """The oldest message of *queue*."""
        ...


class Redis:
    def __init__(self, url: str) -> None:
        self.url = url

    def take(self, queue: str = QUEUE) -> Raw:
        with closing(redis.Redis.from_url(self.url)) as client:
            # A priority is a part of the key.
            for key in sorted(client.keys(f"{queue}*")):
                if isinstance(text := client.rpop(key), bytes):
                    return self._read(json.loads(text))
        raise AssertionError(f"no message in {queue}")

    def _read(self, envelope: dict[str, Any]) -> Raw:
        assert envelope["properties"]["body_encoding"] == "base64"
        body = base64.b64decode(envelope.pop("body"), validate=True)
        headers = list(envelope.pop("headers").items())
        return Raw(body, headers, {**envelope.pop("properties"), **envelope})


class RabbitMQ:
    def __init__(self, url: str) -> None:
        self.url = url

    def take(self, queue: str = QUEUE) -> Raw:
        parts = urlsplit(self.url)
        with (
            amqp.Connection(
                f"{parts.hostname}:{parts.port}",
                userid=parts.username,
                password=parts.password,
                virtual_host=parts.path[1:],
            ) as connection,
            connection.channel() as channel,
        ):
            # What comes by way of a quorum queue or a delay takes a moment to arrive.
            deadline = time.monotonic() + 15
            while (message := channel.basic_get(queue, no_ack=True)) is None:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.05)
        assert message is not None, f"no message in {queue}"
        properties = dict(message.properties)
        headers = list(properties.pop("application_headers").items())
        where = {k: message.delivery_info[k] for k in ("exchange", "routing_key")}
        return Raw(message.body, headers, {**properties, **where})


@pytest.fixture(params=["redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Broker:
    url = request.getfixturevalue(f"{request.param}_url")
    return Redis(url) if request.param == "redis" else RabbitMQ(url)


@pytest.fixture
def app(broker: Broker, storage_url: str) -> Iterator[Celery]:
    """An app without workers, whose publishes stay in the broker."""
    app = Celery("wire", broker=broker.url, set_as_current=False)
    app.conf.task_default_queue = QUEUE
    app.conf.task_queues = [Queue(QUEUE), DIRECT, TOPIC, PRIORITY]
    app.conf.fullresult_storage = storage_url
    with closing(FullResult(app)), closing(app):
        yield app


def publish_and_resend(app: Celery, broker: Broker, *, queue: str = QUEUE, **how: Any) -> Pair:
    """Publish a task, re-send it, and take both messages."""
    first = app.send_task("shop.ship", **how).id
    second = app.fullresult.resend(first).id
    return Pair(first, second, broker.take(queue), broker.take(queue))


class Pair(NamedTuple):
    first_id: str
    second_id: str
    first: Raw
    second: Raw

    def renamed(self, *dates: str) -> Raw:
        """The first message with the second's id, and the second's dates where they may differ."""
        headers = [
            (name, self.second.header[name] if name in dates else self._renamed(value))
            for name, value in self.first.headers
        ]
        tag = {name: self.second.properties[name] for name in self._tags()}
        properties = {k: self._renamed(v) for k, v in self.first.properties.items()}
        return Raw(self.first.body, headers, {**properties, **tag})

    def _renamed(self, value: Any) -> Any:
        return self.second_id if value == self.first_id else value

    def _tags(self) -> set[str]:
        return {"delivery_tag"} & self.second.properties.keys()


VALUES = {
    "json": [1, 2.5, 1e23, None, True, "é\u0000\ud800", float("inf"), [[]], {"a.b": {"$c": 1}}],
    "pickle": [(1, 2), {3, 4}, b"\x00\xff", {5: timedelta(1)}, date(2026, 1, 2), 2**70],
    "msgpack": [1, 2.5, None, b"\x00\xff", {5: "int key"}, "é"],
    "yaml": [1, 2.5, None, {5: "int key"}, date(2026, 1, 2), "é", b"\x00\xff"],
}
OF_KOMBU = [Decimal("1.10"), datetime(2026, 1, 2, tzinfo=timezone.utc), UUID(int=7), b"\xff"]


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_a_resent_message_is_the_same_but_for_its_id(
    app: Celery, broker: Broker, serializer: str, compression: str | None
) -> None:
    pair = publish_and_resend(
        app,
        broker,
        args=VALUES[serializer],
        kwargs={"order_id": 7, "note": "x" * 300},
        serializer=serializer,
        compression=compression,
        headers={"tenant": "acme", "trace": {"id": "00-ab", "flags": [1, 2]}, "empty": None},
        shadow="shop.ship to Iceland",
        time_limit=30,
        soft_time_limit=20,
        reply_to="answers",
        link=plain(app.signature("shop.bill", args=(1,), kwargs={"a": 2})),
        link_error=[plain(app.signature("shop.cry")), plain(app.signature("shop.sulk"))],
        stamped_headers=["tenant", "who"],
        who=["me", "you"],
        tenant="stamped",
        delivery_mode=1,
        ignore_result=True,
    )

    assert pair.second == pair.renamed()


def test_the_values_of_kombus_json_come_through(app: Celery, broker: Broker) -> None:
    """Dates, decimals, UUIDs and bytes, also in headers, where they are values of the broker's."""
    headers = {"when": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc), "price": Decimal("1.10")}

    pair = publish_and_resend(app, broker, args=OF_KOMBU, headers=headers)

    assert pair.second == pair.renamed()


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_resend_of_a_resend_is_the_same_too(
    app: Celery, broker: Broker, compression: str | None
) -> None:
    first = app.send_task("shop.ship", [1], {"a": 2}, compression=compression, headers={"x": 1}).id
    second = app.fullresult.resend(first).id
    third = app.fullresult.resend(second).id
    pair = Pair(first, third, broker.take(), (broker.take(), broker.take())[1])

    assert pair.second == pair.renamed()
    assert app.fullresult.get(third).retry_of == second


@pytest.mark.parametrize("priority", [0, 4, 9])
def test_priority_is_kept(app: Celery, broker: Broker, priority: int) -> None:
    first = app.send_task("shop.ship", queue="urgent", priority=priority).id

    second = app.fullresult.resend(first).id

    pair = Pair(first, second, broker.take("urgent"), broker.take("urgent"))
    assert pair.second.properties["priority"] == priority
    assert pair.second == pair.renamed()


@pytest.mark.parametrize(
    ("queue", "route"),
    [
        ("letters", {"queue": "letters"}),
        ("letters", {"exchange": "post", "routing_key": "letter"}),
        ("stamps", {"queue": "stamps", "routing_key": "stamp.blue.penny"}),
        ("stamps", {"queue": "stamps"}),
        ("stamps", {"exchange": "hobby", "routing_key": "stamp.red", "declare": [TOPIC]}),
        ("stamps", {"queue": TOPIC, "routing_key": "stamp.black"}),
        ("made.for.it", {"queue": "made.for.it"}),
    ],
)
def test_routing_is_kept(app: Celery, broker: Broker, queue: str, route: dict[str, Any]) -> None:
    """By a direct exchange, a topic exchange, the default one; by queue or by exchange."""
    with app.connection_for_write() as connection:
        for declared in (DIRECT, TOPIC):
            declared(connection.default_channel).declare()
    first = app.send_task("shop.ship", **route).id

    second = app.fullresult.resend(first).id

    pair = Pair(first, second, broker.take(queue), broker.take(queue))
    assert pair.second == pair.renamed()


def test_a_queue_that_is_gone_is_declared_again(app: Celery, broker: Broker) -> None:
    """Also by an app that has never heard of it: a message to no queue is dropped by RabbitMQ."""
    first = app.send_task("shop.ship", queue="for.a.while").id
    broker.take("for.a.while")
    with app.connection_for_write() as connection:
        connection.default_channel.queue_delete("for.a.while")
    pools.reset()  # a connection remembers what was declared on it
    other = Celery("other", broker=broker.url, set_as_current=False)
    other.conf.fullresult_storage = app.conf.fullresult_storage

    with closing(FullResult(other)) as full, closing(other):
        second = full.resend(first).id

    assert broker.take("for.a.while").header["id"] == second


def test_dates_move_with_the_time(app: Celery, broker: Broker) -> None:
    """A re-send runs at once, and has as long to live as its original had."""
    soon = datetime.now(timezone.utc) + timedelta(hours=1)
    pair = publish_and_resend(app, broker, eta=soon, expires=7200)

    assert pair.second == pair.renamed("eta", "expires")
    assert pair.second.header["eta"] is None
    lived, lives = (datetime.fromisoformat(raw.header["expires"]) for raw in pair[2:])
    assert timedelta(0) <= lives - lived < timedelta(seconds=30)


@pytest.mark.skipif(VERSION < (5, 5), reason="Celery 5.5 brought delays at quorum queues")
def test_an_eta_at_a_quorum_queue_is_not_waited_for_again(
    rabbitmq_url: str, tmp_path: Path
) -> None:
    """RabbitMQ itself delays such a message: the delay is a part of its route."""
    delayed = pytest.importorskip("kombu.transport.native_delayed_delivery")
    broker, quorum = RabbitMQ(rabbitmq_url), {"x-queue-type": "quorum"}
    queue = Queue("q", Exchange("x", type="topic"), "a.b", queue_arguments=quorum)
    app = Celery("quorum", broker=broker.url, set_as_current=False)
    app.conf.update(task_queues=[queue], task_default_queue="q")
    app.conf.fullresult_storage = f"sqlite:///{tmp_path}/records.db"
    with closing(FullResult(app)) as full, closing(app), app.connection_for_write() as connection:
        delayed.declare_native_delayed_delivery_exchanges_and_queues(connection, "classic")
        bound = queue(connection.default_channel)
        bound.declare()
        delayed.bind_queue_to_native_delayed_delivery_exchange(connection, bound)
        first = app.send_task("shop.ship", [1], countdown=3600).id

        second = full.resend(first).id

        record = full.get(first)
        assert record is not None
        assert record.exchange == "celery_delayed_27"
        assert broker.take("q").header["id"] == second


def test_a_group_member_leaves_its_group(app: Celery, broker: Broker) -> None:
    """A second member would be counted twice."""
    members = group(app.signature("shop.ship", args=(n,)) for n in range(2)).apply_async()
    first = members.results[0].id

    second = app.fullresult.resend(first).id

    original, _, again = (broker.take() for _ in range(3))
    pair = Pair(first, second, original, again)
    assert original.header["group"] == members.id
    assert pair.second == pair.renamed("group", "group_index")
    assert (again.header["group"], again.header["group_index"]) == (None, None)


def test_a_group_member_stays_if_asked(app: Celery, broker: Broker) -> None:
    members = group(app.signature("shop.ship", args=(n,)) for n in range(2)).apply_async()
    first = members.results[0].id

    second = app.fullresult.resend(first, keep_group=True).id

    original, _, again = (broker.take() for _ in range(3))
    pair = Pair(first, second, original, again)
    assert pair.second == pair.renamed()


@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_a_chord_member_leaves_its_chord(app: Celery, broker: Broker, serializer: str) -> None:
    """A pickle is never decoded: it keeps its chord, which counts no task without a group."""
    app.conf.task_serializer = serializer
    first = publish_chord_member(app, serializer)

    second = app.fullresult.resend(first).id

    pair = Pair(first, second, broker.take(), broker.take())
    assert pair.second.header["group"] is None
    if serializer == "pickle":
        assert pair.second.body == pair.first.body
    else:
        assert json.loads(pair.second.body)[:2] == json.loads(pair.first.body)[:2]
        assert json.loads(pair.first.body)[2]["chord"]["task"] == "shop.sum"
        assert json.loads(pair.second.body)[2]["chord"] is None


@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_a_chord_member_stays_if_asked(app: Celery, broker: Broker, serializer: str) -> None:
    first = publish_chord_member(app, serializer)

    second = app.fullresult.resend(first, keep_group=True).id

    pair = Pair(first, second, broker.take(), broker.take())
    assert pair.second == pair.renamed()


def test_what_follows_in_the_chain_leaves_its_chord(app: Celery, broker: Broker) -> None:
    """The last of a chain in a chord is the chord's member, and is sent by the one before it."""
    last = app.signature("shop.last", options={"group_id": "g", "group_index": 1, "chord": {}})
    first = app.send_task("shop.ship", chain=[last, app.signature("shop.next")]).id

    second = app.fullresult.resend(first).id

    pair = Pair(first, second, broker.take(), broker.take())
    (_, _, before), (_, _, after) = json.loads(pair.first.body), json.loads(pair.second.body)
    assert before["chain"][0]["options"].keys() == {"group_id", "group_index", "chord"}
    assert after["chain"] == [{**before["chain"][0], "options": {}}, before["chain"][1]]


def publish_chord_member(app: Celery, serializer: str) -> str:
    membership = {"group_id": "g", "group_index": 0, "chord": app.signature("shop.sum")}
    return str(app.send_task("shop.ship", [1], serializer=serializer, **membership).id)


def plain(signature: Any) -> Any:
    """A signature as the dict it is: YAML writes no other."""
    return json.loads(json.dumps(signature))


def test_keys_of_the_app_may_change_between_the_two(app: Celery, broker: Broker) -> None:
    """What the configuration said at the time is what counts, not what it says now."""
    app.conf.update(task_serializer="yaml", task_compression="zlib")
    first = app.send_task("shop.ship", [1]).id
    app.conf.update(task_serializer="json", task_compression=None, task_default_queue="other")

    second = app.fullresult.resend(first).id

    pair = Pair(first, second, broker.take(), broker.take())
    assert pair.first.header["compression"]
    assert pair.second == pair.renamed()
