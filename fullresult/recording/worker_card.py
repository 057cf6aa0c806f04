"""Fills in a worker's card, from what its main process knows."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import celery
import kombu

from fullresult.config import Settings
from fullresult.record.card import Card, Registered

_OPTIONS = ("acks_late", "reject_on_worker_lost", "time_limit", "soft_time_limit", "rate_limit")
"""The options of a task that decide what may become of it."""
_ENDLESS = ("gevent", "eventlet")
"""Pools whose number of processes is that of the tasks that run."""


class CardMaker:
    """Fills in the card of the worker whose *consumer* this is.

    It only reads, and may be called from any thread. What an unusual consumer lacks is left empty.
    """

    def __init__(
        self, consumer: Any, settings: Settings, paused: Callable[[], tuple[str, ...]] = tuple
    ) -> None:
        self._consumer = consumer
        self._paused = paused
        self._settings = settings
        self._versions = _versions()

    def card(self, clock_ahead: float) -> Card:
        """The card as of now. The worker's clock is *clock_ahead* seconds ahead."""
        consumer, settings, conf = self._consumer, self._settings, self._consumer.app.conf
        return Card(
            queues=queues_of(consumer),
            paused=self._paused(),
            pool=pool_of(consumer),
            processes=processes_of(consumer),
            prefetch=getattr(consumer, "initial_prefetch_count", None),
            acks_late=bool(conf.task_acks_late),
            accept_content=tuple(sorted(map(str, conf.accept_content or ()))),
            time_limit=time_limit_of(consumer),
            visibility_timeout=visibility_timeout_of(consumer),
            namespace=settings.namespace,
            versions=self._versions,
            host=platform.node(),
            pid=os.getpid(),
            release=settings.release,
            sweeps=settings.schedule_eta and settings.sweeper == "worker",
            clock_ahead=clock_ahead,
        )

    def registered(self) -> Registered:
        """The tasks that the worker knows."""
        tasks = dict(self._consumer.app.tasks)
        return {name: _options(task) for name, task in tasks.items()}


def queues_of(consumer: Any) -> tuple[str, ...]:
    """The queues that it consumes now."""
    return tuple(sorted(_known(lambda: [q.name for q in consumer.task_consumer.queues])))


def pool_of(consumer: Any) -> str:
    """The name of its pool, as `--pool` takes it."""
    return type(consumer.pool).__module__.rpartition(".")[2].replace("thread", "threads")


def processes_of(consumer: Any) -> int | None:
    """The number of tasks that it runs at once."""
    name = "limit" if pool_of(consumer) in _ENDLESS else "num_processes"
    found = _known(lambda: getattr(consumer.pool, name), None)
    return found if isinstance(found, int) else None


def time_limit_of(consumer: Any) -> float | None:
    """The time limit of tasks that have none of their own."""
    worker = getattr(consumer, "controller", None)
    found = getattr(worker, "time_limit", None) or getattr(worker, "soft_time_limit", None)
    return float(found) if isinstance(found, (int, float)) else None


def visibility_timeout_of(consumer: Any) -> float | None:
    """Seconds after which its broker delivers again; None for a broker that waits."""
    found = _known(lambda: consumer.task_consumer.channel.visibility_timeout, None)
    return float(found) if isinstance(found, (int, float)) else None


def _options(task: Any) -> Mapping[str, Any]:
    known = {name: getattr(task, name, None) for name in _OPTIONS}
    return {
        name: value
        for name, value in known.items()
        if isinstance(value, (int, float, str)) and value
    }


def _versions() -> dict[str, str]:
    try:
        own = version("fullresult")
    except PackageNotFoundError:  # run from a directory of sources
        own = ""
    return {
        "python": platform.python_version(),
        "celery": celery.__version__,
        "kombu": kombu.__version__,
        "fullresult": own,
    }


def _known(read: Callable[[], Any], otherwise: Any = ()) -> Any:
    """What *read* finds; *otherwise* while the consumer has no connection."""
    try:
        return read()
    except (AttributeError, TypeError):
        return otherwise
