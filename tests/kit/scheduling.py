"""Apps whose tasks wait in a storage: schedules in any state, brokers that fail when told to.

`later` and `overdue` schedule through the app, `altered` stores what no app would; `received` takes
what a broker's queue has. `Flaky` and `through_proxy` make a storage or a server fail.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

from celery import Celery
from kombu import Queue

from fullresult import FullResult
from fullresult.record.schedule import Schedule, ScheduleQuery
from fullresult.scheduling.batch import Swept
from fullresult.scheduling.schedule_events import ScheduleEvents
from fullresult.scheduling.sweeper import Sweeper
from fullresult.storage import ScheduleStorage, StorageError
from tests.kit.proxy import Proxy, proxy

PATIENCE = 20.0
SECOND = timedelta(seconds=1)


@contextmanager
def app_on(broker: dict[str, Any], storage_url: str, **settings: Any) -> Iterator[Celery]:
    """An app that diverts, with a queue of its own; *broker* and *settings* are Celery's."""
    app = Celery("shop", set_as_current=False)
    app.conf.update(
        task_default_queue=f"queue-{uuid4().hex[:12]}",
        fullresult_storage=storage_url,
        fullresult_schedule_eta=True,
        **broker,
    )
    app.conf.update(settings)
    full = FullResult(app)
    full.setup()
    try:
        yield app
    finally:
        full.close()
        app.close()


def later(app: Celery, task_id: str, name: str = "shop.charge", **options: Any) -> Schedule:
    """Schedule a task, due in an hour if nothing else is said."""
    app.send_task(name, (7,), task_id=task_id, **{"countdown": 3600, **options})
    return only(app, task_id)


def overdue(app: Celery, task_id: str, by: timedelta = SECOND, **options: Any) -> Schedule:
    """Schedule a task that has been due for so long."""
    full: FullResult = app.fullresult
    later(app, task_id, **options)
    assert full.reschedule(task_id, full.storage.now() - by)
    return only(app, task_id)


def left_claimed(app: Celery, task_id: str, *, ago: timedelta = timedelta(minutes=2)) -> Schedule:
    """Schedule a task that a sweeper claimed so long ago, and has not sent; it audits nothing."""
    full: FullResult = app.fullresult
    due = full.storage.now() - ago
    later(app, task_id)
    full.parts.schedules.reschedule(task_id, due)
    full.parts.schedule_storage.claim_due(full.settings.namespace, due, uuid4().hex, 1000)
    return only(app, task_id)


def altered(app: Celery, task_id: str, by: timedelta = SECOND, **changes: Any) -> Schedule:
    """Store a schedule of *task_id*, due for so long, with fields that no app would give it."""
    full: FullResult = app.fullresult
    model = later(app, f"model of {task_id}")
    full.parts.schedule_storage.withdraw(model.schedule_id)
    headers = json.dumps({**json.loads(model.headers), "id": task_id})
    known = {"schedule_id": uuid4().hex, "task_id": task_id, "headers": headers}
    due = full.storage.now() - by
    schedule = model._replace(**{**known, "due": due, **changes})
    sound = schedule._replace(headers=headers)
    full.parts.schedule_storage.schedule(schedule, ScheduleEvents(full.settings).moved(sound, due))
    return schedule


def with_how(schedule: Schedule, **changes: Any) -> str:
    """The properties of a schedule's message with some of them changed."""
    return json.dumps({**json.loads(schedule.how), **changes})


def only(app: Celery, task_id: str) -> Schedule:
    """The one schedule of a task."""
    (found,) = of_task(app, task_id)
    return found


def of_task(app: Celery, task_id: str) -> list[Schedule]:
    storage = app.fullresult.storage
    found: list[Schedule] = storage.find_schedules(ScheduleQuery(task_ids=[task_id], limit=None))
    return found


def claimed(app: Celery) -> list[str]:
    """The ids of the tasks that a sweeper took and did not close."""
    return [schedule.task_id for schedule in app.fullresult.scheduled(claimed=True, limit=None)]


def waiting(app: Celery) -> list[str]:
    return [schedule.task_id for schedule in app.fullresult.scheduled(claimed=False, limit=None)]


def received(app: Celery, queue: str | None = None) -> list[str]:
    """The ids of the tasks in a queue of the broker, which has none of them any more."""
    return [message.headers["id"] for message in messages(app, queue)]


def messages(app: Celery, queue: str | None = None) -> list[Any]:
    """The messages of a queue, taken from it."""
    found = []
    with app.connection_for_read() as connection:
        bound = Queue(queue or app.conf.task_default_queue)(connection.default_channel)
        with contextlib.suppress(connection.channel_errors):  # RabbitMQ: there is no such queue
            while message := bound.get(no_ack=True):
                found.append(message)
    return found


def until(condition: Callable[[], object], timeout: float = PATIENCE) -> None:
    """Poll *condition* until it holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.01)


def sweep(full: FullResult, limit: int | None = None) -> Swept:
    """Send what is due now, at most *limit*, by a sweeper that is closed then."""
    sweeper = full.parts.new_sweeper()
    try:
        return sweeper.sweep(limit)
    finally:
        sweeper.close()


@contextmanager
def running(app: Celery) -> Iterator[Sweeper]:
    """A sweeper at work in a thread, that ends with the block."""
    sweeper = app.fullresult.parts.new_sweeper()
    sweeper.start()
    try:
        yield sweeper
    finally:
        sweeper.stop()
        sweeper.join(PATIENCE)
        assert not any(t.name == "fullresult-sweeper" for t in threading.enumerate())


C = TypeVar("C")


def with_all_methods(proxy: type[C]) -> type[C]:
    """Give a class that passes on by `__getattr__` the attributes of a storage that schedules.

    From CPython 3.12 on `isinstance` asks a protocol's members of the class alone.
    """
    for name in dir(ScheduleStorage):
        if not name.startswith("_") and name not in vars(proxy):
            setattr(proxy, name, property(partial(_passed_on, name=name)))
    return proxy


def _passed_on(proxy: Any, name: str) -> Any:
    return proxy.__getattr__(name)


@with_all_methods
class Flaky:
    """A storage of which some methods fail, as often as `fail` says."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self.failures: dict[str, int] = {}
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    @classmethod
    def under(cls, app: Celery) -> Flaky:
        """Put one in the place of the app's storage; before anything uses that."""
        full: FullResult = app.fullresult
        storage, recorder = full.storage, full.recorder
        flaky = cls(storage)
        full.parts.opened = flaky, recorder
        return flaky

    def fail(self, method: str, times: int = 10**9) -> None:
        self.failures[method] = times

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._storage, name)

        def call(*given: Any, **options: Any) -> Any:
            self.calls.append((name, given))
            if self.failures.get(name, 0) > 0:
                self.failures[name] -= 1
                raise StorageError(f"{name}: the storage is away")
            return method(*given, **options)

        return call


@contextmanager
def through_proxy(url: str) -> Iterator[tuple[Proxy, str]]:
    """A proxy before the server of *url*, and the URL of that server through it."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    with proxy(parts.hostname, parts.port) as between:
        netloc = parts.netloc.replace(f":{parts.port}", f":{between.port}")
        # A replica set would tell where else it is.
        query = "directConnection=true" if parts.scheme == "mongodb" else parts.query
        yield between, parts._replace(netloc=netloc, query=query).geturl()
