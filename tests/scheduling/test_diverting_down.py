"""Diverting while something is not there: the broker, the result backend, the storage.

Long because what is away is taken away by the same few means in all sections.
"""

from __future__ import annotations

import logging
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from celery import VERSION, Celery, chain, chord, group
from kombu.exceptions import OperationalError

from fullresult import FullResult
from tests.kit import proxy, scheduling, servers, workers
from tests.kit.workers import Scene

MODULE = "tests.apps.scenario_diverting_app"
HOUR = 3600
TO_THE_BROKER = "is not scheduled in the storage and goes to the broker with its ETA"


@contextmanager
def app_of(broker: str, storage: str, **settings: Any) -> Iterator[Celery]:
    app = Celery("down", broker=broker, set_as_current=False)
    ours = {"fullresult_storage": storage, "fullresult_schedule_eta": True}
    app.conf.update({**ours, "fullresult_storage_timeout": 1, **settings})
    with ExitStack() as stack:
        full = stack.enter_context(closing(FullResult(app)))
        stack.callback(app.close)
        yield full.app
        if app.conf.result_backend and app.conf.result_backend.startswith("redis"):
            workers._close(app)


# --- The broker and the result backend


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Takes the place of a server, and shows whether anybody came."""
    with socket.create_server((servers.HOST, 0)) as listening:
        yield listening


def has_been_called(listener: socket.socket) -> bool:
    return bool(select.select([listener], [], [], 0)[0])


def address(listener: socket.socket) -> str:
    return f"{servers.HOST}:{listener.getsockname()[1]}"


BROKERS = ["redis://{}/0", "amqp://guest:guest@{}//"]
BACKENDS = ["redis://{}/1", "rpc://", "db+postgresql+psycopg://u:p@{}/d"]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("broker", BROKERS)
def test_diverting_connects_to_neither_broker_nor_result_backend(
    listener: socket.socket, storage_url: str, broker: str, backend: str
) -> None:
    """But for a group, whose result subscribes to those of its members by itself."""
    where = address(listener)
    settings = {
        "result_backend": backend.format(where),
        # Celery's own backend would otherwise connect as soon as it is made.
        "database_create_tables_at_setup": False,
        "task_send_sent_event": True,
    }
    with app_of(broker.format(where), storage_url, **settings) as app:
        work = app.signature("down.work", (1,), immutable=True)
        later = work.clone().set(countdown=HOUR)

        app.send_task("down.work", task_id="one", countdown=HOUR)
        app.task(name="down.known")(nothing).apply_async((), task_id="two", countdown=HOUR)
        chain(later, work.clone()).apply_async(task_id="three")

        assert len(app.fullresult.scheduled()) == 3
        assert {"one", "two"} <= set(scheduling.waiting(app))
        assert not has_been_called(listener)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("broker", BROKERS)
def test_diverting_a_group_connects_to_no_broker(
    listener: socket.socket, storage_url: str, broker: str
) -> None:
    with app_of(broker.format(address(listener)), storage_url) as app:
        later = app.signature("down.work", (1,)).set(countdown=HOUR)

        result = group([later.clone(), later.clone()]).apply_async()

        assert set(scheduling.waiting(app)) == {member.id for member in result.results}
        assert not has_been_called(listener)


def nothing() -> None: ...


@pytest.mark.skipif(VERSION < (5, 5), reason="Celery 5.5 has its backend connect when it is made")
def test_a_result_backend_that_cannot_even_be_made_keeps_no_task_from_being_stored(
    redis_url: str, storage_url: str
) -> None:
    """Celery's database backend makes its tables first. Who asks for a result is told."""
    backend = f"db+postgresql+psycopg://u:p@{servers.HOST}:{servers.free_port()}/d"
    settings = {"result_backend": backend, "database_create_tables_at_setup": True}
    with app_of(redis_url, storage_url, **settings) as app:
        result = app.send_task("down.work", task_id="one", countdown=HOUR)

        assert scheduling.waiting(app) == ["one"]
        with pytest.raises(Exception, match="onnection"):
            _ = result.state


@pytest.mark.parametrize("broker", BROKERS)
@pytest.mark.parametrize("backend", ["redis://{}/1", "rpc://"])
def test_a_diverted_task_is_sent_when_the_broker_is_back(
    broker: str, backend: str, storage_url: str, request: pytest.FixtureRequest
) -> None:
    """Nothing is lost while it is away, and nothing is claimed."""
    url: str = request.getfixturevalue(f"{'redis' if 'redis' in broker else 'rabbitmq'}_url")
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    with proxy.proxy(parts.hostname, parts.port) as between:
        broker = url.replace(f":{parts.port}", f":{between.port}")
        settings = {
            "result_backend": backend.format(f"{servers.HOST}:{servers.free_port()}"),
            "fullresult_namespace": "one",
            "task_default_queue": "patient",
        }
        with app_of(broker, storage_url, **settings) as app:
            between.refuse()
            app.send_task("down.work", task_id="one", countdown=0.2)
            with scheduling.running(app):
                scheduling.until(lambda: overdue(app, "one"))
                assert scheduling.claimed(app) == []
                between.accept()

                scheduling.until(lambda: app.fullresult.scheduled() == [])

            assert scheduling.received(app) == ["one"]


def overdue(app: Celery, task_id: str) -> bool:
    """Whether it has waited for longer than it was to."""
    late = timedelta(seconds=0.5)
    return [s.task_id for s in app.fullresult.get_stale_scheduled_tasks(late)] == [task_id]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("broker", BROKERS)
def test_diverting_waits_for_no_producer_of_an_exhausted_pool(
    listener: socket.socket, storage_url: str, broker: str
) -> None:
    """Kombu's own wait for one has no end."""
    with app_of(broker.format(address(listener)), storage_url, broker_pool_limit=1) as app:
        with app.producer_pool.acquire():
            app.send_task("down.work", task_id="one", countdown=HOUR, ignore_result=True)

        assert scheduling.waiting(app) == ["one"]
        assert not has_been_called(listener)


def test_a_result_is_asked_for_later_by_who_wants_it(redis_url: str, storage_url: str) -> None:
    """The result of a diverted task is subscribed to by `get`, not by publishing it."""
    with app_of(redis_url, storage_url, result_backend=redis_url) as app:
        result = app.send_task("down.work", task_id="one", countdown=HOUR)
        subscribed = set(app.backend.result_consumer.subscribed_to)
        app.backend.store_result("one", 42, "SUCCESS")

        assert result.get(timeout=10) == 42
        assert subscribed == set()

        del result


def test_a_publish_without_delay_subscribes_as_ever(redis_url: str, storage_url: str) -> None:
    with app_of(redis_url, storage_url, result_backend=redis_url) as app:
        app.send_task("down.work", task_id="later", countdown=HOUR)
        result = app.send_task("down.work", task_id="now")

        assert len(app.backend.result_consumer.subscribed_to) == 1

        del result


# --- The storage, in a program that publishes


@pytest.fixture(params=workers.DEAD_STORAGES)
def dead_storage(request: pytest.FixtureRequest) -> Iterator[str]:
    with workers.dead_storage(request.param, request) as url:
        yield url


def test_who_publishes_is_told_that_the_storage_is_away(dead_storage: str, redis_url: str) -> None:
    """By the error that a broker's absence is told by; soon, and then at once; nothing is sent."""
    took = []
    with app_of(redis_url, dead_storage) as app:
        for number in range(3):
            began = time.monotonic()
            with pytest.raises(OperationalError, match=f"task {number} is not scheduled") as raised:
                app.send_task("down.work", task_id=str(number), countdown=HOUR)
            took.append(time.monotonic() - began)

        assert scheduling.received(app) == []
    assert took[0] < 4
    assert max(took[1:]) < 0.3
    assert "secret" not in str(raised.value)


def test_who_wants_it_has_the_broker_wait_instead(
    dead_storage: str, redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with app_of(redis_url, dead_storage, fullresult_on_divert_error="broker") as app:
        for number in range(3):
            app.send_task("down.work", task_id=str(number), countdown=HOUR)

        messages = scheduling.messages(app)
    assert [message.headers["id"] for message in messages] == ["0", "1", "2"]
    assert all(message.headers["eta"] for message in messages)
    lines = [each.getMessage() for each in caplog.records if TO_THE_BROKER in each.getMessage()]
    assert len(lines) == 3
    assert "secret" not in caplog.text


def test_a_task_without_a_delay_is_sent_whatever_the_storage_does(
    dead_storage: str, redis_url: str
) -> None:
    with app_of(redis_url, dead_storage) as app:
        app.send_task("down.work", task_id="now")

        assert scheduling.received(app) == ["now"]


class Between(NamedTuple):
    """A storage behind a network that fails when told to."""

    direct: str
    url: str
    network: proxy.Proxy


@pytest.fixture
def between(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Between]:
    kind = getattr(request, "param", "postgresql")
    with (
        workers.storage(kind, request, tmp_path) as direct,
        scheduling.through_proxy(direct) as (network, url),
    ):
        yield Between(direct, url, network)


_, *SERVERS = workers.storages("postgresql")
on_each_server = pytest.mark.parametrize("between", SERVERS, indirect=True)
where_an_answer_is_lost = pytest.mark.parametrize(
    "between", [each for each in SERVERS if "mongodb" not in str(each.values)], indirect=True
)
"""Not in MongoDB: what is asked of it again is done once."""


@on_each_server
def test_diverting_goes_on_when_the_storage_is_back(between: Between, redis_url: str) -> None:
    """Nothing of what was refused is stored or sent."""
    with app_of(redis_url, between.url) as app:
        app.send_task("down.work", task_id="before", countdown=HOUR)
        between.network.refuse()
        time.sleep(0.2)  # The proxy's connections end within a tick of it.
        with pytest.raises(OperationalError):
            app.send_task("down.work", task_id="refused", countdown=HOUR)
        between.network.accept()

        scheduling.until(lambda: is_taken(app))

        assert set(scheduling.waiting(app)) == {"before", "after"}
        assert app.fullresult.get("refused") is None
        assert scheduling.received(app) == []


def is_taken(app: Celery) -> bool:
    try:
        app.send_task("down.work", task_id="after", countdown=HOUR)
    except OperationalError:
        return False
    return True


@on_each_server
def test_a_connection_that_died_while_it_was_idle_is_no_failure(
    between: Between, redis_url: str
) -> None:
    with app_of(redis_url, between.url) as app:
        app.send_task("down.work", task_id="before", countdown=HOUR)
        between.network.cut_all()
        time.sleep(0.2)  # The proxy's connections end within a tick of it.

        app.send_task("down.work", task_id="after", countdown=HOUR)

        assert set(scheduling.waiting(app)) == {"before", "after"}


@where_an_answer_is_lost
def test_what_was_stored_though_the_answer_was_lost_is_withdrawn(
    between: Between, redis_url: str
) -> None:
    """The caller was told that it failed, and may do it again: it must not run by itself."""
    with app_of(redis_url, between.url) as app, app_of(redis_url, between.direct) as other:
        app.send_task("down.work", task_id="before", countdown=HOUR)
        between.network.plan = proxy.once(b"lost-answer", proxy.LoseAnswer())

        with pytest.raises(OperationalError):
            app.send_task("down.work", task_id="lost-answer", countdown=0.5)

        scheduling.until(lambda: scheduling.waiting(other) == ["before"])
        assert between.network.faults == 1
        with scheduling.running(other):
            scheduling.until(lambda: due_has_passed(other, 1))
        assert scheduling.received(other) == []
        record = workers.eventually(other.fullresult, "lost-answer", workers.has_state("UNSENT"))
        assert (record.name, record.args) == ("down.work", [])
        assert record.exception_type == "kombu.exceptions.OperationalError"


def due_has_passed(app: Celery, seconds: float) -> bool:
    record = app.fullresult.get("lost-answer")
    now = app.fullresult.storage.now()
    return bool(record and record.eta and now - record.eta > timedelta(seconds=seconds))


@where_an_answer_is_lost
def test_with_the_broker_instead_a_lost_answer_sends_one_message(
    between: Between, redis_url: str
) -> None:
    """The one with its ETA, which the broker has; what the storage had is withdrawn."""
    settings = {"fullresult_on_divert_error": "broker"}
    with (
        app_of(redis_url, between.url, **settings) as app,
        app_of(redis_url, between.direct) as other,
    ):
        app.send_task("down.work", task_id="before", countdown=HOUR)
        between.network.plan = proxy.once(b"lost-answer", proxy.LoseAnswer())

        app.send_task("down.work", task_id="lost-answer", countdown=0.5)

        scheduling.until(lambda: scheduling.waiting(other) == ["before"])
        with scheduling.running(other):
            scheduling.until(lambda: due_has_passed(other, 1))
        (message,) = scheduling.messages(other)
        assert message.headers["id"] == "lost-answer"
        assert message.headers["eta"] is not None


@where_an_answer_is_lost
def test_a_message_cut_off_on_its_way_to_the_storage_is_nowhere(
    between: Between, redis_url: str
) -> None:
    with app_of(redis_url, between.url) as app, app_of(redis_url, between.direct) as other:
        app.send_task("down.work", task_id="before", countdown=HOUR)
        between.network.plan = proxy.once(b"cut-off", proxy.Cut(after=10))

        with pytest.raises(OperationalError):
            app.send_task("down.work", task_id="cut-off", countdown=HOUR)

        workers.eventually(other.fullresult, "cut-off", workers.has_state("UNSENT"))
        assert scheduling.waiting(other) == ["before"]
        assert scheduling.received(other) == []


# --- The storage, in a worker


@contextmanager
def scene_of(between: Between, redis_url: str, directory: Path) -> Iterator[Scene]:
    """An app that reaches the storage, and a worker that reaches it through the network."""
    settings = {
        "fullresult_schedule_eta": True,
        "fullresult_storage_timeout": 1,
        "fullresult_namespace": "namespace-of-the-test",
    }
    theirs = {"fullresult_storage": between.url, "fullresult_sweeper": "off"}
    with (
        workers.scene(redis_url, between.direct, directory, module=MODULE, **settings) as scene,
        scene.worker(concurrency=2, settings=theirs),
    ):
        yield scene


@on_each_server
def test_what_a_worker_publishes_goes_to_the_broker_while_the_storage_is_away(
    between: Between, redis_url: str, tmp_path: Path
) -> None:
    """A retry, a link, the rest of a chain, an errback, a chord's body: each runs, and later."""
    with scene_of(between, redis_url, tmp_path) as scene:
        add, tsum = scene.task("add"), scene.task("tsum")
        later = {"countdown": 1}
        between.network.refuse()

        link = add.s(10).set(task_id="link", **later)
        errback = scene.task("errback_published").s().set(task_id="errback", **later)
        results = [
            scene.task("retry_later").apply_async((1,)),
            chain(add.s(1, 2), add.s(3).set(**later), add.s(4)).apply_async(),
            chord([add.s(1, 1), add.s(2, 2)])(tsum.s().set(**later)),
            scene.task("replaced_in").apply_async((1, 1)),
            scene.task("parent_of_waiting").apply_async((1,)),
        ]
        add.apply_async((1, 2), link=link)
        scene.task("fail").apply_async(("broken",), task_id="failed", link_error=errback)
        told = [result.get(timeout=workers.PATIENCE) for result in results]
        of_others = [
            scene.app.AsyncResult(task_id).get(timeout=workers.PATIENCE)
            for task_id in ("link", "errback", told[-1])
        ]

        log = scene.workers[0].read_log()
        assert told[:-1] == ["later", 10, 6, 2]
        assert of_others == [13, "failed", 3]
        assert log.count(TO_THE_BROKER) == log.count("held with eta") == 7
        assert scene.full.scheduled() == []
        del results


@on_each_server
def test_a_worker_diverts_again_when_the_storage_is_back(
    between: Between, redis_url: str, tmp_path: Path
) -> None:
    with scene_of(between, redis_url, tmp_path) as scene:
        between.network.refuse()
        scene.task("retry_later").apply_async((0.1,)).get(timeout=workers.PATIENCE)
        between.network.accept()

        def is_diverted() -> bool:
            scene.send("retry_later", HOUR)
            return bool(scene.full.scheduled())

        assert workers.until(is_diverted), scene.logs()


@on_each_server
def test_a_retry_whose_answer_was_lost_runs_exactly_once(
    between: Between, redis_url: str, tmp_path: Path
) -> None:
    """It was stored, it is withdrawn, and it goes to the broker with its ETA.

    In MongoDB it is asked again, and stored after all.
    """
    with scene_of(between, redis_url, tmp_path) as scene, scheduling.running(scene.app):
        scene.settle()
        between.network.plan = proxy.once(b"namespace-of-the-test", proxy.LoseAnswer())

        task_id = scene.send("retry_later", 2)

        record = scene.final(task_id, "SUCCESS", retries=1)
        log = scene.workers[0].read_log()
        assert between.network.faults == 1
        assert [run.retries for run in record.executions] == [0, 1]
        assert record.result == "later"
        assert log.count(f"[{task_id}] received") == 2
        assert log.count(TO_THE_BROKER) == ("mongodb" not in between.direct)
        assert scene.full.scheduled() == []


def test_the_chord_of_a_member_that_cannot_be_scheduled_is_not_half_sent(
    dead_storage: str, redis_url: str
) -> None:
    """The caller is told; what Celery had published by then is what it would have by any error."""
    with app_of(redis_url, dead_storage, result_backend=redis_url) as app:
        later = app.signature("down.work", (1,)).set(countdown=HOUR)

        with pytest.raises(OperationalError):
            group([later.clone(), later.clone()]).apply_async()

        assert scheduling.received(app) == []


def test_one_line_is_logged_for_each_task_and_no_traceback(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    storage = f"postgresql://u@{servers.HOST}:{servers.free_port()}/d"
    with app_of(redis_url, storage, fullresult_on_divert_error="broker") as app:
        with caplog.at_level(logging.INFO):
            app.send_task("down.work", task_id="one", countdown=HOUR)

        ours = [each for each in caplog.records if each.name.startswith("fullresult")]
        assert len([each for each in ours if "one" in each.getMessage()]) == 1
        assert all(each.exc_info is None for each in ours)
