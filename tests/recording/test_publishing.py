"""`app.send_task`, watched: what callers, subclasses and interruptions may do to it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from celery import Celery, chain
from celery.exceptions import SoftTimeLimitExceeded
from kombu.exceptions import EncodeError

from fullresult import FullResult
from fullresult.recording.recorder import Recorder
from fullresult.storage import Storage
from tests.kit.scheduling import app_on, received


class Brief(Celery):  # type: ignore[misc]  # Celery has no types
    """An app whose `send_task` takes no more by position than Celery ever gives."""

    def send_task(self, name: str, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        return super().send_task(name, args, kwargs, **options)


class Interrupting:
    """A storage in whose writes a soft time limit falls."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def write(self, _: object) -> None:
        raise SoftTimeLimitExceeded

    def begin_write(self, _: object) -> None:
        raise SoftTimeLimitExceeded


@pytest.fixture(params=[Celery, Brief])
def full(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FullResult]:
    app = request.param("shop", broker="memory://", set_as_current=False)
    app.conf.fullresult_storage = f"sqlite:///{tmp_path / 'records.db'}"
    full = FullResult(app)
    full.setup()
    yield full
    full.close()


def test_arguments_may_be_given_by_position_as_far_as_celery_has_them(full: FullResult) -> None:
    names = list(inspect.signature(Celery.send_task).parameters)[1:-1]
    given = {"name": "shop.pay", "args": (7,), "kwargs": {"amount": 5}, "task_id": "the id"}

    count = names.index("task_id") + 1
    full.app.send_task(*[given.get(name) for name in names[:count]])

    record = full.get("the id")
    assert record is not None
    assert (record.name, record.args, record.kwargs) == ("shop.pay", [7], {"amount": 5})


def test_all_may_be_given_by_name(full: FullResult) -> None:
    result = full.app.send_task(name="shop.pay", args=(7,), priority=3)

    record = full.get(result.id)
    assert record is not None
    assert (record.args, record.priority) == ([7], 3)


@pytest.mark.parametrize("option", ["producer", "publisher"])
def test_the_producer_of_the_caller_is_used(full: FullResult, option: str) -> None:
    with full.app.connection_for_write() as connection:
        producer = full.app.amqp.Producer(connection)
        published: list[dict[str, Any]] = []
        publish = producer.publish

        def noted(*body: Any, **how: Any) -> Any:
            published.append(how)
            return publish(*body, **how)

        producer.publish = noted

        result = full.app.send_task("shop.pay", **{option: producer})

    assert [how["headers"]["id"] for how in published] == [result.id]
    assert full.get(result.id) is not None


def test_the_connection_of_the_caller_is_used(full: FullResult) -> None:
    with full.app.connection_for_write() as connection:
        result = full.app.send_task("shop.pay", connection=connection)

        assert connection.connected

    assert full.get(result.id) is not None


def test_a_soft_time_limit_that_falls_into_recording_reaches_the_task(full: FullResult) -> None:
    interrupting: Any = Interrupting(full.storage)
    full.parts.opened = interrupting, Recorder(full.app, full.settings, interrupting)

    with pytest.raises(SoftTimeLimitExceeded):
        full.app.send_task("shop.pay")


def test_what_fails_after_the_broker_has_the_message_does_not_make_it_unsent(
    full: FullResult,
) -> None:
    class Dispatcher:
        def publish(self, *_: object, **__: object) -> None:
            raise ConnectionError("no events today")

    full.app.conf.task_send_sent_event = True

    with pytest.raises(ConnectionError):
        full.app.send_task("shop.pay", task_id="sent", event_dispatcher=Dispatcher())

    record = full.get("sent")
    assert record is not None
    assert record.state == "PENDING"


def test_an_extension_of_ours_is_installed_once(full: FullResult) -> None:
    class Mine(FullResult):
        pass

    assert Mine(full.app) is full


def test_a_broker_that_is_sent_text_is_still_sent_text(full: FullResult) -> None:
    full.app.conf.broker_transport_options = {"body_encoding": None}
    stock = Celery("stock", broker="memory://", set_as_current=False)
    stock.conf.broker_transport_options = {"body_encoding": None}

    bodies = []
    for app in (full.app, stock):
        app.send_task("shop.pay", (7,), queue=app.main + "s")
        with app.connection_for_write() as connection:
            message = connection.default_channel._get(app.main + "s")
            bodies.append(message["body"])

    assert bodies[0] == bodies[1]
    assert isinstance(bodies[0], str)


class OnCommit(Celery):  # type: ignore[misc]
    """Publishes when the transaction commits, with all that `send_task` was given."""

    def __init__(self, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self.waiting: list[Callable[[], Any]] = []

    def send_task(self, *given: Any, **options: Any) -> Any:
        self.waiting.append(lambda: Celery.send_task(self, *given, **options))
        return self.AsyncResult(options["task_id"])

    def commit(self) -> None:
        waiting, self.waiting = self.waiting, []
        for publish in waiting:
            publish()


@pytest.fixture
def on_commit(tmp_path: Path) -> Iterator[OnCommit]:
    app = OnCommit("shop", broker="memory://", set_as_current=False)
    app.conf.fullresult_storage = f"sqlite:///{tmp_path / 'records.db'}"
    app.conf.broker_pool_limit = 2
    app.conf.task_publish_retry = False
    full = FullResult(app)
    full.setup()
    yield app
    full.close()


def test_an_app_may_publish_later_as_often_as_it_likes(on_commit: OnCommit) -> None:
    """More often than the pool has producers: each is given back."""
    results = [on_commit.send_task("shop.pay", (number,)) for number in range(7)]
    committing = Thread(target=on_commit.commit, daemon=True)

    committing.start()
    committing.join(20)

    assert not committing.is_alive()
    assert len(received(on_commit)) == 7
    assert [on_commit.fullresult.get(result.id).args for result in results] == [
        [number] for number in range(7)
    ]


def test_what_is_kept_and_never_published_takes_no_producer_along(on_commit: OnCommit) -> None:
    for _ in range(7):
        on_commit.send_task("shop.pay")
        on_commit.waiting.clear()

    with on_commit.producer_pool.acquire(block=False) as producer:
        assert producer is not None


def test_a_later_publish_that_fails_is_unsent(on_commit: OnCommit) -> None:
    result = on_commit.send_task("shop.pay", (object(),))

    with pytest.raises(EncodeError):
        on_commit.commit()

    assert on_commit.fullresult.get(result.id).state == "UNSENT"


@pytest.mark.parametrize("serializer", ["json", "msgpack", "pickle"])
def test_links_are_kept_once(storage_url: str, serializer: str) -> None:
    """Each message of a chain has the rest of the chain: of 1,000 tasks that is 100 MB."""
    pytest.importorskip("msgpack")
    with app_on({"broker_url": "memory://"}, storage_url, task_serializer=serializer) as app:
        work = app.signature("shop.work", immutable=True)
        first = chain(*[work.clone() for _ in range(20)]).apply_async()
        while first.parent is not None:
            first = first.parent

        record = app.fullresult.get(first.id)

    assert len(record.embed["chain"]) == 19
    assert {link["task"] for link in record.embed["chain"]} == {"shop.work"}
    assert (record.message.embed is None) == (serializer != "pickle")


def test_links_that_are_kept_without_their_body_are_bounded(storage_url: str) -> None:
    settings = {"fullresult_max_body": 1_000, "task_serializer": "pickle"}
    with app_on({"broker_url": "memory://"}, storage_url, **settings) as app:
        link = app.signature("shop.work", args=["x" * 70_000])
        task_id = app.send_task("shop.work", link=link).id

        record = app.fullresult.get(task_id)

    assert record.embed == {}
    assert record.notes["embed"].startswith("cut: ")
