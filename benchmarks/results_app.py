"""The app of `results.py`, in its own process and in workers."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from celery import Celery, Task

if TYPE_CHECKING:
    from collections.abc import Iterator


def ended_at() -> float:
    """A chord's member: it does nothing but tell when."""
    return time.time()


def latest(times: list[float]) -> tuple[float, float]:
    """A chord's body: when its last member ended, and now."""
    return max(times), time.time()


def one_more(self: Task) -> float:
    """A member that adds one to its chord."""
    self.add_to_chord(self.app.tasks["results.ended_at"].s())
    return time.time()


def latest_of_groups(groups: list[list[float]]) -> tuple[float, float]:
    """As `latest`, for a header of groups."""
    return max(map(max, groups)), time.time()


def build(broker: str, backend: str, store: str) -> Celery:
    """An app with the tasks; it records in *store*, unless that is empty."""
    app = Celery("results", broker=broker, backend=backend, set_as_current=False)
    app.conf.update(
        task_default_queue="benchmark",
        broker_connection_retry_on_startup=True,
        # A thousand members must be there in time also where each is asked for on its own.
        result_chord_join_timeout=60,
        database_engine_options={"pool_size": 10},
    )
    for function in (ended_at, latest, latest_of_groups):
        app.task(name=f"results.{function.__name__}")(function)
    app.task(name="results.one_more", bind=True)(one_more)
    if store:
        from fullresult import FullResult  # Only where it takes part.

        app.conf.fullresult_storage = store
        FullResult(app)
    return app


@contextmanager
def make_app(broker: str, backend: str, store: str) -> Iterator[Celery]:
    app = build(broker, backend, store)
    try:
        if store:
            app.fullresult.setup()
        yield app
    finally:
        if store:
            app.fullresult.close()
        if consumer := getattr(app.backend, "result_consumer", None):
            # Redis's: a result that lives on would connect again, to say that it no longer waits.
            consumer.stop()
            consumer._pubsub = None  # noqa: SLF001
        app.close()


if "BENCHMARK_BACKEND" in os.environ:
    app = build(
        os.environ["BENCHMARK_BROKER"],
        os.environ["BENCHMARK_BACKEND"],
        os.environ["BENCHMARK_STORE"],
    )
