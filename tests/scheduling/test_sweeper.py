"""The sweeper by itself: what is due is claimed, sent once, and marked; trouble stops nothing.

Long because each trouble is tried on the one app that its sections share.
"""

from __future__ import annotations

import json
import logging
import time
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import Connection, Exchange, Queue
from kombu.transport import memory

from fullresult.scheduling.batch import Swept
from fullresult.scheduling.sender import BrokerDown
from fullresult.storage import StorageError
from tests.kit import servers, workers
from tests.kit.proxy import Delay
from tests.kit.scheduling import (
    SECOND,
    Flaky,
    altered,
    app_on,
    claimed,
    later,
    messages,
    of_task,
    only,
    overdue,
    received,
    running,
    sweep,
    through_proxy,
    until,
    waiting,
    with_how,
)

MakeApp = Callable[..., Celery]
MEMORY = {"broker_url": "memory://"}


@pytest.fixture
def make(storage_url: str) -> Iterator[MakeApp]:
    """`make(broker settings, storage URL, **settings)`: an app, closed after the test."""
    with ExitStack() as stack:

        def make(
            broker: dict[str, Any] | str = MEMORY, storage: str = storage_url, **settings: Any
        ) -> Celery:
            given = {"broker_url": broker} if isinstance(broker, str) else broker
            return stack.enter_context(app_on(given, storage, **settings))

        yield make


@pytest.fixture(
    params=[
        pytest.param((broker, kind.values[0]), id=f"{broker}-{kind.values[0]}", marks=kind.marks)
        for broker in ("memory", "filesystem", "redis", "rabbitmq")
        for kind in workers.storages("sqlite", *() if broker == "filesystem" else ("postgresql",))
    ],
)
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Celery]:
    """An app on each broker and each storage."""
    broker, kind = request.param
    if broker == "memory":
        settings = MEMORY
    elif broker == "filesystem":
        settings = request.getfixturevalue("filesystem_broker").settings
    else:
        settings = {"broker_url": request.getfixturevalue(f"{broker}_url")}
    with workers.storage(kind, request, tmp_path) as url, app_on(settings, url) as app:
        yield app


# --- One sweep


def test_what_is_due_is_sent_once_and_the_rest_waits(app: Celery) -> None:
    overdue(app, "due")
    overdue(app, "due too")
    later(app, "not due")

    first, second = sweep(app.fullresult), sweep(app.fullresult)

    assert (first, second) == (Swept(2, 2), Swept())
    assert sorted(received(app)) == ["due", "due too"]
    assert app.fullresult.get("due").state == "SCHEDULED_SENT"
    assert app.fullresult.get("not due").state == "SCHEDULED"
    assert waiting(app) == ["not due"]
    assert claimed(app) == []


def test_the_first_due_go_first_and_no_more_than_the_limit(app: Celery) -> None:
    for seconds in (2, 5, 1, 4, 3):
        overdue(app, f"due for {seconds} s", by=seconds * SECOND)

    swept = sweep(app.fullresult, limit=3)

    assert swept == Swept(3, 3)
    assert sorted(received(app)) == ["due for 3 s", "due for 4 s", "due for 5 s"]
    assert waiting(app) == ["due for 2 s", "due for 1 s"]


def test_messages_leave_in_the_order_they_were_due(make: MakeApp, redis_url: str) -> None:
    app = make(redis_url)
    for number in (3, 1, 25, 14, *range(4, 14), 2):
        overdue(app, str(number), by=number * SECOND)

    sweep(app.fullresult)

    order = [int(task_id) for task_id in received(app)]
    assert order == sorted(order, reverse=True)


def test_what_had_expired_when_it_was_due_is_finished_as_revoked(app: Celery) -> None:
    """Nothing else would say so: the message is not sent."""
    soon = datetime.now(timezone.utc) + timedelta(milliseconds=1)
    overdue(app, "expired", expires=soon)
    overdue(app, "lives", expires=3600)
    until(lambda: app.fullresult.storage.now() > soon)

    swept = sweep(app.fullresult)

    assert swept == Swept(2, 1, expired=1)
    assert received(app) == ["lives"]
    record = app.fullresult.get("expired")
    assert (record.state, record.exception_type) == (
        "REVOKED",
        "celery.exceptions.TaskRevokedError",
    )
    assert record.exception_message == "expired"
    assert record.date_done is not None
    assert app.fullresult.count_scheduled() == 0


def test_what_is_left_of_its_life_is_the_brokers_to_keep(make: MakeApp, rabbitmq_url: str) -> None:
    app = make(rabbitmq_url)
    overdue(app, "one", expires=100)

    sweep(app.fullresult)

    (message,) = messages(app)
    assert 50_000 < int(message.properties["expiration"]) <= 100_000


def test_a_negative_answer_is_zero_of_everything(app: Celery) -> None:
    assert sweep(app.fullresult) == Swept()


# --- How many at a time


def sizes(flaky: Flaky) -> list[int]:
    """How many schedules each claim asked for."""
    return [given[3] for name, given in flaky.calls if name == "claim_due"]


def test_claims_grow_while_the_broker_is_fast(make: MakeApp) -> None:
    app = make(fullresult_sweep_limit=64)
    for number in range(300):
        overdue(app, str(number))
    flaky = Flaky.under(app)

    sweep(app.fullresult)

    asked = sizes(flaky)
    assert asked[0] <= 10
    assert all(after <= before * 2 for before, after in pairwise(asked))
    assert max(asked) > asked[0]
    assert max(asked) <= 64


def test_claims_shrink_to_what_a_slow_broker_takes_in_a_twentieth_of_a_second(
    make: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = memory.Channel._put

    def slowly(*given: Any, **options: Any) -> None:
        time.sleep(0.01)
        put(*given, **options)  # type: ignore[no-untyped-call]

    app = make()
    for number in range(30):
        overdue(app, str(number))
    flaky = Flaky.under(app)
    monkeypatch.setattr(memory.Channel, "_put", slowly)

    sweep(app.fullresult)

    assert max(sizes(flaky)[1:]) <= 5
    assert min(sizes(flaky)) >= 1


def test_no_claim_is_larger_than_the_limit_of_a_sweep(make: MakeApp) -> None:
    """The loop's first one neither."""
    app = make(fullresult_sweep_limit=2)
    for number in range(7):
        overdue(app, str(number))
    flaky = Flaky.under(app)

    with running(app) as sweeper:
        until(lambda: sweeper.swept.sent == 7)

    assert max(sizes(flaky)) == 2


# --- Namespaces


def test_only_its_own_namespace_is_swept_and_others_that_are_late_reported_once(
    make: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    ours = make(fullresult_namespace="ours")
    theirs = make(fullresult_namespace="amqp://user:secret@theirs")
    overdue(theirs, "very late", by=timedelta(minutes=2))
    overdue(theirs, "very late too", by=timedelta(minutes=3))
    overdue(ours, "ours")
    sweeper = ours.fullresult.parts.new_sweeper()

    swept = sweeper.sweep() + sweeper.sweep()
    sweeper.close()

    assert swept == Swept(1, 1)
    assert received(theirs) == []
    assert waiting(ours) == ["very late too", "very late"]
    (line,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert "amqp://user:***@theirs" in line
    assert "fullresult_namespace" in line
    assert sweep(theirs.fullresult) == Swept(2, 2)


def test_what_is_a_little_late_elsewhere_is_not_reported(
    make: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    ours = make(fullresult_namespace="ours")
    theirs = make(fullresult_namespace="theirs")
    overdue(theirs, "late", by=30 * SECOND)

    sweep(ours.fullresult)

    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


# --- Bad records


BAD = {
    "headers that are no JSON": {"headers": "{"},
    "headers that are a list": {"headers": "[]"},
    "headers that are nothing": {"headers": ""},
    "properties that are no JSON": {"how": "nonsense"},
    "properties without a content type": {"how": "{}"},
    "a declaration that is no list": {
        "how": '{"declare": 5, "content_type": "a", "content_encoding": "b"}'
    },
    "a queue without a name": {
        "how": '{"declare": [{}], "content_type": "a", "content_encoding": "b"}'
    },
    "an unknown compression": {
        "how": '{"compression": "magic", "content_type": "application/json",'
        ' "content_encoding": "utf-8"}'
    },
}


@pytest.mark.parametrize("changes", BAD.values(), ids=BAD)
def test_one_bad_record_is_logged_marked_and_skipped(
    make: MakeApp, changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    app = make()
    altered(app, "bad", by=5 * SECOND, **changes)
    overdue(app, "good")

    swept = sweep(app.fullresult)

    assert swept == Swept(2, 1, failed=1)
    assert received(app) == ["good"]
    bad = only(app, "bad")
    assert bad.claimed
    assert bad.problem
    lines = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert any("task bad stays claimed" in line and bad.problem in line for line in lines)
    assert sweep(app.fullresult) == Swept()


def test_an_expiry_that_is_no_date_is_a_problem_of_that_task(make: MakeApp) -> None:
    app = make()
    model = later(app, "model")
    headers = {**json.loads(model.headers), "expires": "soon", "id": "bad"}
    altered(app, "bad", headers=json.dumps(headers))

    swept = sweep(app.fullresult)

    assert swept == Swept(1, failed=1)
    assert "expires" in (only(app, "bad").problem or "")


def test_a_body_of_an_unknown_content_type_is_sent_as_it_is(make: MakeApp) -> None:
    """Only who reads it needs to know it."""
    app = make()
    model = later(app, "model")
    how = with_how(model, content_type="application/x-ours", content_encoding="binary")
    altered(app, "odd", how=how, body=b"\x00\xff")

    swept = sweep(app.fullresult)

    assert swept == Swept(1, 1)
    (message,) = messages(app)
    assert message.content_type == "application/x-ours"


BAD_FOR_AMQP = {
    "an exchange that does not exist": {"exchange": "nowhere", "routing_key": "x", "declare": []},
    "a queue that cannot be declared": {
        "declare": [{"name": "bad", "queue_arguments": {"x-max-length": "many"}}]
    },
    "a queue whose name is reserved": {"declare": [{"name": "amq.ours"}]},
    "a queue of an exchange that no broker has": {
        "declare": [{"name": "bad", "exchange": {"name": "odd", "type": "x-odd"}}]
    },
    "a priority that is no number": {"priority": "high"},
}


@pytest.mark.parametrize("changes", BAD_FOR_AMQP.values(), ids=BAD_FOR_AMQP)
def test_what_rabbitmq_will_not_take_is_skipped(
    make: MakeApp, rabbitmq_url: str, changes: dict[str, Any]
) -> None:
    app = make(rabbitmq_url)
    model = later(app, "model")
    altered(app, "bad", by=5 * SECOND, how=with_how(model, **changes))
    for number in range(3):
        overdue(app, f"good {number}")

    swept = sweep(app.fullresult)

    assert swept == Swept(4, 3, failed=1)
    assert sorted(received(app)) == ["good 0", "good 1", "good 2"]
    assert claimed(app) == ["bad"]
    assert only(app, "bad").problem


def test_a_header_that_amqp_cannot_carry_is_skipped(make: MakeApp, rabbitmq_url: str) -> None:
    app = make(rabbitmq_url)
    overdue(app, "bad", by=5 * SECOND, headers={"huge": 2**70})
    overdue(app, "good")

    swept = sweep(app.fullresult)

    assert swept == Swept(2, 1, failed=1)
    assert received(app) == ["good"]
    assert only(app, "bad").problem


def test_a_queue_that_is_none_on_redis_does_not_stop_the_others(
    make: MakeApp, redis_url: str
) -> None:
    """Something else has its name."""
    import redis

    app = make(redis_url)
    with redis.Redis.from_url(redis_url) as client:
        client.set("taken", "by a text")
    overdue(app, "bad", by=5 * SECOND, queue="taken")
    overdue(app, "good")

    swept = sweep(app.fullresult)

    assert swept == Swept(2, 1, failed=1)
    assert received(app) == ["good"]
    assert "WRONGTYPE" in (only(app, "bad").problem or "")


def test_a_redis_that_is_full_keeps_all_waiting(make: MakeApp, redis_url: str) -> None:
    """It said no: nothing is left claimed."""
    import redis

    app = make(redis_url)
    overdue(app, "one")
    with redis.Redis.from_url(redis_url) as client:
        before = client.config_get("maxmemory")["maxmemory"]
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(BrokerDown, match=r"OOM|OutOfMemory"):
                sweep(app.fullresult)
        finally:
            client.config_set("maxmemory", before)

    assert waiting(app) == ["one"]
    assert sweep(app.fullresult) == Swept(1, 1)


# --- Queues


def manage(server: servers.RabbitMQ, path: str, method: str = "GET") -> Any:
    """What RabbitMQ's management says."""
    credentials = b64encode(b"guest:guest").decode()
    request = urllib.request.Request(
        f"{server.management}/{path}",
        headers={"Authorization": f"Basic {credentials}"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def vhost(url: str) -> str:
    return urllib.parse.urlsplit(url).path[1:]


def test_a_missing_queue_is_declared_as_it_was_when_the_task_was_scheduled(
    make: MakeApp, rabbitmq_url: str, rabbitmq_server: servers.RabbitMQ
) -> None:
    topic = Exchange("events", type="topic")
    app = make(
        rabbitmq_url,
        task_queues=[
            Queue("urgent", queue_arguments={"x-max-priority": 9}),
            Queue("safe", queue_arguments={"x-queue-type": "quorum"}),
            Queue("letters", topic, routing_key="shop.#"),
        ],
    )
    overdue(app, "urgent", queue="urgent", priority=7)
    overdue(app, "safe", queue="safe")
    overdue(app, "letters", queue="letters", routing_key="shop.paid")
    elsewhere = make(rabbitmq_url, app.conf.fullresult_storage)

    swept = sweep(elsewhere.fullresult)

    assert swept == Swept(3, 3)
    assert [message.properties["priority"] for message in messages(app, "urgent")] == [7]
    assert received(app, "safe") == ["safe"]
    assert received(app, "letters") == ["letters"]
    found = {
        each["name"]: each for each in manage(rabbitmq_server, f"queues/{vhost(rabbitmq_url)}")
    }
    assert found["urgent"]["arguments"] == {"x-max-priority": 9}
    assert found["safe"]["arguments"]["x-queue-type"] == "quorum"
    assert manage(rabbitmq_server, f"exchanges/{vhost(rabbitmq_url)}/events")["type"] == "topic"


def test_a_queue_that_exists_with_other_arguments_is_used_as_it_is(
    make: MakeApp, rabbitmq_url: str
) -> None:
    app = make(rabbitmq_url, task_queues=[Queue("urgent", queue_arguments={"x-max-priority": 9})])
    with Connection(rabbitmq_url) as connection:
        Queue("urgent", queue_arguments={"x-max-priority": 3})(connection.channel()).declare()
    overdue(app, "one", queue="urgent")

    swept = sweep(app.fullresult)

    assert swept == Swept(1, 1)
    assert received(app, "urgent") == ["one"]


def test_a_queue_deleted_after_the_last_sweep_is_declared_again(
    make: MakeApp, rabbitmq_url: str
) -> None:
    app = make(rabbitmq_url)
    overdue(app, "one")
    sweep(app.fullresult)
    with Connection(rabbitmq_url) as connection:
        Queue(app.conf.task_default_queue)(connection.channel()).delete()
    overdue(app, "two")

    sweep(app.fullresult)

    assert received(app) == ["two"]


# --- Connections


def test_a_connection_that_rabbitmq_closed_meanwhile_costs_nothing(
    make: MakeApp, rabbitmq_url: str, rabbitmq_server: servers.RabbitMQ
) -> None:
    """As after a restart of the broker: what is next is sent once, on a new connection."""
    app = make(rabbitmq_url)
    overdue(app, "one")
    sweeper = app.fullresult.parts.new_sweeper()
    sweeper.sweep()
    close_all(rabbitmq_server, vhost(rabbitmq_url))
    until(sweeper._sender._may_be_dead)
    overdue(app, "two")

    swept = sweeper.sweep()
    sweeper.close()

    assert swept == Swept(1, 1)
    assert claimed(app) == []
    assert received(app) == ["one", "two"]


def close_all(server: servers.RabbitMQ, of_vhost: str) -> None:
    """Have RabbitMQ say goodbye on the connections of a virtual host."""

    def names() -> list[str]:
        return [c["name"] for c in manage(server, "connections") if c.get("vhost") == of_vhost]

    until(names)  # they are listed a little late
    for name in names():
        manage(server, f"connections/{urllib.parse.quote(name, safe='')}", "DELETE")


def test_a_connection_that_valkey_closed_meanwhile_costs_nothing(
    make: MakeApp, redis_url: str
) -> None:
    import redis

    app = make(redis_url)
    overdue(app, "one")
    sweeper = app.fullresult.parts.new_sweeper()
    sweeper.sweep()
    with redis.Redis.from_url(redis_url) as client:
        number = int(urllib.parse.urlsplit(redis_url).path[1:])
        for each in client.client_list():
            if int(each["db"]) == number and int(each["id"]) != client.client_id():
                client.client_kill(each["addr"])
    overdue(app, "two")

    swept = sweeper.sweep()
    sweeper.close()

    assert swept == Swept(1, 1)
    assert claimed(app) == []
    assert sorted(received(app)) == ["one", "two"]


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_a_connection_cut_while_idle_costs_nothing(
    make: MakeApp, broker: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue(f"{broker}_url")
    with through_proxy(url) as (between, through):
        app = make(through)
        overdue(app, "one")
        sweeper = app.fullresult.parts.new_sweeper()
        sweeper.sweep()
        between.cut_all()
        until(lambda: not between.open)
        overdue(app, "two")

        swept = sweeper.sweep()
        sweeper.close()

        assert swept == Swept(1, 1)
        assert claimed(app) == []
        assert sorted(received(app)) == ["one", "two"]


def test_nothing_is_claimed_while_the_broker_is_away(make: MakeApp) -> None:
    app = make(f"redis://127.0.0.1:{servers.free_port()}")
    overdue(app, "one")
    flaky = Flaky.under(app)

    with pytest.raises(BrokerDown):
        sweep(app.fullresult)

    assert waiting(app) == ["one"]
    assert sizes(flaky) == []


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_a_broker_that_comes_back_gets_each_task_once_and_two_lines_are_logged(
    make: MakeApp,
    broker: str,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with through_proxy(request.getfixturevalue(f"{broker}_url")) as (between, through):
        app = make(through, fullresult_sweep_interval=0.05)
        overdue(app, "before")
        with running(app) as sweeper:
            until(lambda: sweeper.swept.sent == 1)
            between.refuse()
            until(lambda: not between.open)
            overdue(app, "meanwhile")
            until(lambda: ours(caplog))
            began = time.monotonic()
            until(lambda: time.monotonic() > began + 1)  # several attempts
            assert waiting(app) == ["meanwhile"]
            between.heal()
            until(lambda: sweeper.swept.sent == 2)
            until(lambda: len(ours(caplog)) > 1)

        assert sorted(received(app)) == ["before", "meanwhile"]
        assert claimed(app) == []
    begins, ends = ours(caplog)
    assert "the sweeper waits" in begins
    assert "the sweeper goes on" in ends


def ours(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What the sweeper warned of."""
    found = [r for r in caplog.records if r.name == "fullresult.scheduling.sweeper"]
    return [r.getMessage() for r in found if r.levelno >= logging.WARNING]


def test_a_broker_that_hangs_does_not_keep_the_sweeper_for_ever(
    make: MakeApp, rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it hangs in: what was to be sent waits, or stays claimed for a person."""
    monkeypatch.setattr("fullresult.scheduling.sender._TIMEOUT", 0.5)
    with through_proxy(rabbitmq_url) as (between, through):
        app = make(through, broker_connection_timeout=0.5)
        overdue(app, "one")
        sweeper = app.fullresult.parts.new_sweeper()
        sweeper.sweep()
        overdue(app, "two")
        between.plan = lambda _: Delay(3)
        began = time.monotonic()

        with pytest.raises(BrokerDown):
            sweeper.sweep()
        took = time.monotonic() - began

        sweeper.close()
        between.heal()
    assert took < 10
    assert waiting(app) + claimed(app) == ["two"]


@pytest.mark.parametrize("broker", ["redis", "rabbitmq"])
def test_an_idle_connection_is_asked_before_a_claim_and_one_that_hangs_is_given_up(
    make: MakeApp, broker: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fullresult.scheduling.sender._TIMEOUT", 0.5)
    monkeypatch.setattr("fullresult.scheduling.sender._FRESH", 0.0)
    monkeypatch.setattr("fullresult.scheduling.sender._FRESH_REDIS", 0.0)
    with through_proxy(request.getfixturevalue(f"{broker}_url")) as (between, through):
        app = make(through, broker_connection_timeout=0.5)
        overdue(app, "one")
        sweeper = app.fullresult.parts.new_sweeper()
        sweeper.sweep()
        overdue(app, "two")
        between.plan = lambda _: Delay(3)

        with pytest.raises(BrokerDown):
            sweeper.sweep()

        assert waiting(app) == ["two"]
        between.heal()
        sweeper.close()


# --- The storage away


def test_what_was_sent_is_marked_later_and_not_sent_twice(make: MakeApp) -> None:
    """Where the storage goes away between the two."""
    app = make()
    for number in range(3):
        overdue(app, str(number))
    flaky = Flaky.under(app)
    flaky.fail("mark_sent", times=3)
    sweeper = app.fullresult.parts.new_sweeper()

    for _ in range(2):
        with pytest.raises(StorageError):
            sweeper.sweep()
    between = claimed(app)
    with pytest.raises(StorageError):
        sweeper.sweep()
    overdue(app, "next")
    swept = sweeper.sweep()

    assert sorted(between) == ["0", "1", "2"]
    assert sorted(received(app)) == ["0", "1", "2", "next"]
    assert swept == Swept(1, 1)
    assert app.fullresult.get("0").state == "SCHEDULED_SENT"
    assert claimed(app) == []


def test_what_was_sent_and_not_yet_marked_is_not_rescued_by_its_own_sweeper(
    make: MakeApp,
) -> None:
    """It alone knows that it was sent, however long the storage was away."""
    app = make(fullresult_rescue_after=0.5)
    full = app.fullresult
    overdue(app, "one")
    flaky = Flaky.under(app)
    flaky.fail("mark_sent", times=1)
    sweeper = full.parts.new_sweeper()
    with pytest.raises(StorageError):
        sweeper.sweep()
    rescued = full.storage.now() + SECOND
    until(lambda: full.storage.now() > rescued)

    swept = sweeper.sweep()
    sweeper.close()

    assert swept == Swept()
    assert received(app) == ["one"]
    assert claimed(app) == []


def test_a_storage_that_is_away_is_waited_for_with_two_lines(
    make: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make(fullresult_sweep_interval=0.05)
    overdue(app, "one")
    flaky = Flaky.under(app)
    flaky.fail("claim_due", times=2)

    with running(app) as sweeper:
        until(lambda: sweeper.swept.sent == 1)
        until(lambda: len(ours(caplog)) > 1)

    assert received(app) == ["one"]
    assert [line.partition(":")[2].split()[:3] for line in ours(caplog)] == [
        ["the", "sweeper", "waits:"],
        ["the", "sweeper", "goes"],
    ]


@pytest.mark.parametrize("storage_kind", workers.storages("postgresql")[1:], indirect=True)
def test_a_storage_cut_off_for_a_while_costs_nothing(
    make: MakeApp, storage_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with through_proxy(storage_url) as (between, through):
        app = make(storage=through, fullresult_sweep_interval=0.05, fullresult_storage_timeout=1)
        overdue(app, "before")
        with running(app) as sweeper:
            until(lambda: sweeper.swept.sent == 1)
            between.refuse()
            until(lambda: not between.open)
            until(lambda: ours(caplog))
            between.heal()
            until(lambda: len(ours(caplog)) > 1)
            overdue(app, "after")
            until(lambda: sweeper.swept.sent == 2)

        assert sorted(received(app)) == ["after", "before"]
        assert claimed(app) == []


# --- Interrupted


def test_an_interrupt_in_the_middle_leaves_one_claimed_and_gives_the_rest_back(
    make: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, taken = memory.Channel._put, []

    def third_time_interrupted(*given: Any, **options: Any) -> None:
        taken.append(given)
        if len(taken) == 3:
            raise KeyboardInterrupt
        put(*given, **options)  # type: ignore[no-untyped-call]

    app = make()
    for seconds in range(9, 3, -1):
        overdue(app, f"due for {seconds} s", by=seconds * SECOND)
    monkeypatch.setattr(memory.Channel, "_put", third_time_interrupted)

    with pytest.raises(KeyboardInterrupt):
        sweep(app.fullresult)

    assert received(app) == ["due for 9 s", "due for 8 s"]
    assert claimed(app) == ["due for 7 s"]
    assert "may have been sent" in (only(app, "due for 7 s").problem or "")
    assert waiting(app) == ["due for 6 s", "due for 5 s", "due for 4 s"]
    assert app.fullresult.get("due for 9 s").state == "SCHEDULED_SENT"


def test_a_sweeper_told_to_stop_claims_nothing_more(make: MakeApp) -> None:
    app = make()
    overdue(app, "one")
    sweeper = app.fullresult.parts.new_sweeper()

    sweeper.stop()
    swept = sweeper.sweep()
    sweeper.run()

    assert swept == Swept()
    assert waiting(app) == ["one"]


# --- Rescue


def test_what_was_claimed_too_long_ago_is_given_back_and_sent(
    make: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make(fullresult_rescue_after=60)
    full = app.fullresult
    overdue(app, "old", by=timedelta(minutes=5))
    full.storage.claim_due(
        full.settings.namespace, full.storage.now() - timedelta(minutes=2), "dead", 10
    )
    overdue(app, "young")
    full.storage.claim_due(full.settings.namespace, full.storage.now(), "alive", 10)

    swept = sweep(full)

    assert swept == Swept(1, 1)
    assert received(app) == ["old"]
    assert claimed(app) == ["young"]
    assert "was claimed more than 0:01:00 ago" in caplog.text


def test_without_rescue_what_is_claimed_stays(make: MakeApp) -> None:
    app = make()
    full = app.fullresult
    overdue(app, "old", by=timedelta(days=9))
    full.storage.claim_due(
        full.settings.namespace, full.storage.now() - timedelta(days=8), "dead", 10
    )

    swept = sweep(full)

    assert swept == Swept()
    assert claimed(app) == ["old"]


def test_a_sent_task_whose_end_will_not_be_recorded_does_not_become_stale(make: MakeApp) -> None:
    app = make(fullresult_ignore=["shop.secret"], fullresult_schedule_redacted=True)
    full = app.fullresult
    overdue(app, "ignored", name="shop.secret")
    overdue(app, "recorded")

    sweep(full)

    stale = full.get_stale_tasks(timedelta(seconds=-60))
    assert [record.task_id for record in stale] == ["recorded"]
    assert full.get("ignored").state == "SCHEDULED_SENT"


def test_a_sent_task_whose_end_will_not_be_recorded_expires(make: MakeApp) -> None:
    app = make(
        fullresult_ignore=["shop.secret"],
        fullresult_schedule_redacted=True,
        fullresult_retention="1s",
    )
    full = app.fullresult
    overdue(app, "ignored", name="shop.secret")
    overdue(app, "recorded")

    sweep(full)

    until(lambda: full.storage.delete_expired(full.storage.now(), 10) or not full.get("ignored"))
    assert full.get("ignored") is None
    assert full.get("recorded") is not None


def test_what_no_broker_would_take_is_not_rescued_again_and_again(make: MakeApp) -> None:
    app = make(fullresult_rescue_after=60)
    full = app.fullresult
    problems = {"unsure": "it may have been sent: reset", "hopeless": "its headers are broken"}
    long_ago = full.storage.now() - timedelta(hours=1)
    for task_id, problem in problems.items():
        schedule = overdue(app, task_id, by=timedelta(hours=2))
        assert full.storage.take_over(schedule.schedule_id, task_id, long_ago, instead_of=None)
        full.storage.mark_problem(task_id, schedule.schedule_id, problem)

    swept = sweep(full)

    assert swept == Swept(1, 1)
    assert received(app) == ["unsure"]
    assert claimed(app) == ["hopeless"]


# --- The loop


@pytest.mark.parametrize("storage_kind", workers.storages("sqlite", "postgresql"), indirect=True)
def test_a_due_task_leaves_at_its_time_and_never_before(make: MakeApp, redis_url: str) -> None:
    """However long the interval: it sleeps until then, and not until its next look."""
    app = make(redis_url, fullresult_sweep_interval=30)
    now = app.fullresult.storage.now()
    due = {str(n): now + timedelta(milliseconds=400 + 37 * n) for n in range(20)}
    for task_id, eta in due.items():
        app.send_task("shop.charge", eta=eta, task_id=task_id)

    with running(app) as sweeper:
        until(lambda: sweeper.swept.sent == 20)

    late = sorted(app.fullresult.get(i).date_published - eta for i, eta in due.items())
    assert late[0] >= timedelta(0)
    assert late[10] < timedelta(seconds=5)  # also on a busy machine


def test_what_another_process_schedules_is_seen_within_the_interval(make: MakeApp) -> None:
    app = make(fullresult_sweep_interval=0.5)
    flaky = Flaky.under(app)
    other = make()
    later(app, "much later")
    with running(app) as sweeper:
        until(lambda: any(name == "next_due" for name, _ in flaky.calls))
        overdue(other, "one")
        began = time.monotonic()

        until(lambda: sweeper.swept.sent == 1)

    assert time.monotonic() - began < 1.5


def test_it_says_that_it_is_at_work(make: MakeApp) -> None:
    app = make()
    full = app.fullresult
    before = full.storage.last_sweep(full.settings.namespace)

    sweep(full)

    at = full.storage.last_sweep(full.settings.namespace)
    assert before is None
    assert abs(full.storage.now() - at) < timedelta(minutes=1)


@pytest.mark.parametrize("storage_kind", workers.storages("postgresql"), indirect=True)
def test_many_sweepers_side_by_side_send_each_task_once(make: MakeApp, redis_url: str) -> None:
    apps = [make(redis_url, task_default_queue="shared") for _ in range(4)]
    for number in range(200):
        overdue(apps[0], str(number))

    with ExitStack() as stack:
        sweepers = [app.fullresult.parts.new_sweeper() for app in apps]
        for sweeper in sweepers:
            sweeper.start()
            stack.callback(sweeper.join, 20)
            stack.callback(sweeper.stop)
        until(lambda: sum(s.swept.sent for s in sweepers) >= 200)

    assert sorted(received(apps[0], "shared")) == sorted(map(str, range(200)))
    assert apps[0].fullresult.count_scheduled() == 0


def test_two_schedules_of_one_task_are_two_messages(make: MakeApp) -> None:
    """As when an attempt that was delivered twice asks twice for the next one."""
    app = make()
    app.send_task("shop.charge", countdown=3600, task_id="one")
    app.send_task("shop.charge", countdown=3600, task_id="one")
    app.fullresult.reschedule("one", app.fullresult.storage.now() - SECOND)

    swept = sweep(app.fullresult)

    assert swept == Swept(2, 2)
    assert received(app) == ["one", "one"]
    assert of_task(app, "one") == []
