"""A worker's paused queues, on Celery's own consumer of tasks and a broker in memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from celery import Celery
from celery.worker.consumer import Consumer

from fullresult.recording.paused_queues import PausedQueues
from fullresult.storage import PauseStorage, Storage, StorageError
from fullresult.testing import open_storage, samples
from fullresult.testing.pauses import pause

HOUR = timedelta(hours=1)


class AtOnce:
    """A worker's consumer of tasks whose loop does at once what it is told."""

    def __init__(self, app: Celery, *names: str) -> None:
        self.app = app
        self.connection = app.connection_for_read()
        self.did = 0
        app.amqp.queues.select([*names])
        self.connect()

    def connect(self) -> None:
        """As Celery's step `Tasks` does, each time that it connects."""
        channel = self.connection.channel()
        self.task_consumer: Any = self.app.amqp.TaskConsumer(channel)
        self.task_consumer.on_message = id
        self.task_consumer.consume()

    def call_soon(self, call: Any) -> None:
        self.did += 1
        call()

    cancel_task_queue = Consumer.cancel_task_queue
    add_task_queue = Consumer.add_task_queue

    @property
    def consumed(self) -> set[str]:
        """The queues that the broker would give tasks of to this consumer."""
        return {queue.name for queue in self.task_consumer.queues} & {
            *self.task_consumer._active_tags
        }


class Cut(AtOnce):
    """Its connection breaks where it would be used, while `is_cut`."""

    is_cut = True

    def add_task_queue(self, queue: str) -> None:
        if self.is_cut:
            raise ConnectionResetError("the broker is away")
        super().add_task_queue(queue)


class Away:
    """A storage that does not answer."""

    def find_pauses(self) -> list[Any]:
        raise StorageError("no answer")


@pytest.fixture
def app() -> Iterator[Celery]:
    with closing(Celery("shop", broker="memory://", set_as_current=False)) as app:
        yield app


@pytest.fixture
def consumer(app: Celery) -> Iterator[AtOnce]:
    consumer = AtOnce(app, "celery", "media")
    yield consumer
    consumer.connection.close()


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Any]:
    with closing(open_storage(f"sqlite:///{tmp_path}/records.db")) as storage:
        yield storage


def follows(consumer: Any, storage: Any) -> PausedQueues:
    """What a worker has that has begun, and was heard of once."""
    made = PausedQueues(consumer, "shop")
    made.begin(storage)
    made.follow(storage, samples.NOON)
    return made


def test_what_is_paused_when_a_worker_starts_is_not_consumed(
    consumer: AtOnce, storage: Any
) -> None:
    storage.keep_pause(pause("media"))
    storage.keep_pause(pause("elsewhere"))

    queues = PausedQueues(consumer, "shop")
    queues.begin(storage)

    assert consumer.consumed == {"celery"}
    assert queues.held() == ("media",)


def test_a_pause_and_its_end_are_followed_each_time_that_the_storage_is_asked(
    consumer: AtOnce, storage: Any
) -> None:
    queues = follows(consumer, storage)
    seen = []

    for paused in (True, False, True):
        if paused:
            storage.keep_pause(pause("media"))
        else:
            storage.end_pause("shop", "media")
        queues.follow(storage, samples.NOON)
        seen.append((consumer.consumed, queues.held()))

    held, free = ({"celery"}, ("media",)), ({"celery", "media"}, ())
    assert seen == [held, free, held]


def test_where_nothing_is_paused_the_loop_is_left_alone(consumer: AtOnce, storage: Any) -> None:
    queues = follows(consumer, storage)

    for _ in range(5):
        queues.follow(storage, samples.NOON)

    assert consumer.did == 0


def test_all_queues_of_a_worker_may_be_paused(consumer: AtOnce, storage: Any) -> None:
    for name in ("celery", "media"):
        storage.keep_pause(pause(name))

    queues = follows(consumer, storage)
    consumer.connect()
    queues.apply()

    assert consumer.consumed == set()
    assert queues.held() == ("celery", "media")


def test_a_storage_that_is_away_changes_nothing_and_is_logged_once(
    consumer: AtOnce, storage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    storage.keep_pause(pause("media"))
    queues = follows(consumer, storage)

    with caplog.at_level(logging.WARNING, "fullresult"):
        for _ in range(3):
            queues.follow(cast("PauseStorage", Away()), samples.NOON)

    assert consumer.consumed == {"celery"}
    [said] = [record.getMessage() for record in caplog.records]
    assert said.startswith("fullresult: the storage does not say which queues are paused; this ")
    assert said.endswith("worker goes on with what it last knew: no answer")


def test_a_worker_starts_with_all_its_queues_where_the_storage_is_away(
    consumer: AtOnce,
) -> None:
    class SilentStorage(Away):
        keep_pause = end_pause = None

        def now(self) -> None: ...

    queues = PausedQueues(consumer, "shop")
    queues.begin(cast("Storage", SilentStorage()))

    assert consumer.consumed == {"celery", "media"}
    assert queues.held() == ()


def test_the_queue_of_another_broker_is_not_this_one(consumer: AtOnce, storage: Any) -> None:
    storage.keep_pause(pause("media", namespace="staging"))

    follows(consumer, storage)

    assert consumer.consumed == {"celery", "media"}


def test_a_pause_is_over_by_itself(consumer: AtOnce, storage: Any) -> None:
    storage.keep_pause(pause("media", until=samples.NOON + HOUR))
    queues = PausedQueues(consumer, "shop")

    queues.follow(storage, samples.NOON + HOUR - timedelta(seconds=1))
    during = consumer.consumed
    queues.follow(storage, samples.NOON + HOUR)

    assert (during, consumer.consumed) == ({"celery"}, {"celery", "media"})


def test_a_queue_that_somebody_cancelled_by_hand_before_stays_so(
    consumer: AtOnce, storage: Any
) -> None:
    queues = follows(consumer, storage)
    consumer.cancel_task_queue("media")
    queues.follow(storage, samples.NOON)
    storage.keep_pause(pause("media"))
    queues.follow(storage, samples.NOON)
    held = queues.held()

    storage.end_pause("shop", "media")
    queues.follow(storage, samples.NOON)

    assert held == ()
    assert consumer.consumed == {"celery"}


def test_a_queue_that_celery_cancelled_for_the_pause_is_given_back(
    consumer: AtOnce, storage: Any
) -> None:
    """By the command that workers without `FullResult` are told by, if that was quicker."""
    queues = follows(consumer, storage)
    storage.keep_pause(pause("media"))
    consumer.cancel_task_queue("media")
    queues.follow(storage, samples.NOON)
    held = queues.held()

    storage.end_pause("shop", "media")
    queues.follow(storage, samples.NOON)

    assert held == ("media",)
    assert consumer.consumed == {"celery", "media"}


def test_a_queue_that_somebody_adds_while_it_is_paused_is_cancelled_and_given_back_later(
    consumer: AtOnce, storage: Any
) -> None:
    storage.keep_pause(pause("late"))
    queues = follows(consumer, storage)
    consumer.add_task_queue("late")

    queues.follow(storage, samples.NOON)
    during = consumer.consumed
    storage.end_pause("shop", "late")
    queues.follow(storage, samples.NOON)

    assert during == {"celery", "media"}
    assert consumer.consumed == {"celery", "media", "late"}


def test_a_worker_that_is_told_does_it_at_once(consumer: AtOnce, storage: Any) -> None:
    queues = follows(consumer, storage)
    changes: list[None] = []
    queues.changed = lambda: changes.append(None)

    queues.tell("media", paused=True)
    queues.tell("elsewhere", paused=True)
    during = consumer.consumed
    queues.tell("media", paused=False)
    queues.tell("elsewhere", paused=False)

    assert during == {"celery"}
    assert consumer.consumed == {"celery", "media"}
    assert len(changes) == 2


def test_a_new_connection_consumes_what_is_not_paused_and_what_was_given_back(
    consumer: AtOnce, storage: Any
) -> None:
    """Celery 5.4 forgets what it was told to consume again."""
    storage.keep_pause(pause("media"))
    queues = follows(consumer, storage)

    consumer.connect()
    queues.apply()
    during = consumer.consumed
    storage.end_pause("shop", "media")
    queues.follow(storage, samples.NOON)
    consumer.connect()
    queues.apply()

    assert during == {"celery"}
    assert consumer.consumed == {"celery", "media"}


def test_a_queue_that_cannot_be_given_back_yet_is_given_back_later(
    app: Celery, storage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    consumer = Cut(app, "celery", "media")
    storage.keep_pause(pause("media"))
    queues = follows(consumer, storage)
    storage.end_pause("shop", "media")

    queues.follow(storage, samples.NOON)
    held = queues.held()
    consumer.is_cut = False
    queues.follow(storage, samples.NOON)
    consumer.connection.close()

    assert held == ("media",)
    assert "could not be paused or resumed yet: the broker is away" in caplog.text
    assert queues.held() == ()


def test_a_worker_without_a_connection_waits_for_one(consumer: AtOnce, storage: Any) -> None:
    queues = follows(consumer, storage)
    storage.keep_pause(pause("media"))
    connected, consumer.task_consumer = consumer.task_consumer, None

    queues.follow(storage, samples.NOON)
    consumer.task_consumer = connected
    queues.apply()

    assert consumer.consumed == {"celery"}
