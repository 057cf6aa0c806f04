"""A task's life in this process, step by step: published to a broker, started, ended.

Celery's own publisher and tracer do it, so all signals come as in a worker. Names and ids that
would differ from run to run are given, for sizes are compared.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import Any

from celery import Celery, signals
from celery.app.trace import build_tracer

from fullresult import FullResult

HOST = "worker1@host.example.com"
NAME = "shop.tasks.charge"


class Life:
    """Lives of the task `NAME`, one after the other; `note` is called after each step."""

    def __init__(self, app: Celery, note: Callable[[str], object]) -> None:
        self._app, self._note = app, note

        @app.task(name=NAME, ignore_result=False)  # type: ignore[untyped-decorator]
        def charge(order_id: int, **_: Any) -> dict[str, Any]:
            note("start")
            return {"order_id": order_id, "paid": "12.50", "currency": "EUR"}

        self._random = Random(NAME)
        self._task = charge
        self._trace = build_tracer(NAME, charge, app=app, hostname=HOST)

    def publish(self) -> str:
        self._note("")
        task_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        kwargs = {"order_id": 12_345, "customer": "c-4711", "items": ["a", "b", "c"]}
        self._task.apply_async((), kwargs, task_id=task_id)
        self._note("publish")
        return task_id

    def run(self) -> None:
        """Run the oldest task of the queue, as a worker's child does."""
        with (
            self._app.connection_for_read() as connection,
            connection.SimpleQueue(self._app.conf.task_default_queue) as queue,
        ):
            message = queue.get(timeout=10)
            args, kwargs, embedded = message.payload
            message.ack()
        request = {
            **message.headers,
            **embedded,
            "args": args,
            "kwargs": kwargs,
            "hostname": HOST,
            "is_eager": False,
            "delivery_info": {**message.delivery_info, "redelivered": False},
            "properties": message.properties,
            "reply_to": message.properties.get("reply_to"),
            "correlation_id": message.properties.get("correlation_id"),
        }
        self._note("")
        self._trace(message.headers["id"], args, kwargs, request)
        self._note("end")


@contextmanager
def living(
    url: str, note: Callable[[str], object], **settings: Any
) -> Iterator[tuple[Life, FullResult]]:
    """Lives of an app that records at *url*, over a broker in memory."""
    app = Celery("shop", set_as_current=False)
    app.conf.update(
        broker_url="memory://",
        task_default_queue=f"queue-{uuid.uuid4().hex[:12]}",
        fullresult_storage=url,
        **settings,
    )
    full = FullResult(app)
    full.setup()
    publishers = partial(_from_one_host, app)
    signals.before_task_publish.connect(publishers, weak=False)
    try:
        yield Life(app, note), full
    finally:
        signals.before_task_publish.disconnect(publishers)
        full.close()
        app.close()


def _from_one_host(_app: Celery, headers: dict[str, Any], **_: Any) -> None:
    headers["origin"] = "gen12345@host.example.com"
