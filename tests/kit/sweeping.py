"""Sweeper processes over one store, and what is truly on the broker.

    with crowd(settings) as crowd:
        crowd.spawn(4)
        ids = schedule(full, 300, countdown=1)
        crowd.kill_one(random)
        ...
    sent = redis_ids(url)          # raw, with every repetition
    ledger = Ledger.of(full)       # what the storage says

Sweepers are forked from a process that has imported everything, so that a thousand can be killed.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import logging
import multiprocessing
import os
import random
import signal
import sys
import time
import urllib.parse
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import amqp
import pymongo
import redis
from celery import Celery

from fullresult import FullResult
from fullresult.record import SCHEDULED_SENT
from tests.kit import servers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.process import BaseProcess

    from typing_extensions import Self

QUEUE = "celery"
TASK = "campaign.task"
_PATIENCE = 60.0


def make(settings: dict[str, Any]) -> FullResult:
    """An app whose tasks wait in the storage; *settings* are Celery's."""
    app = Celery("campaign", set_as_current=False)
    app.conf.update({"fullresult_schedule_eta": True, "fullresult_namespace": "campaign"})
    app.conf.update(settings)
    return FullResult(app)


def schedule(full: FullResult, number: int, *, countdown: float) -> list[str]:
    """Schedule *number* tasks, each a little later than the one before; their ids."""
    return [
        str(full.app.send_task(TASK, args=[i], countdown=countdown + i * 1e-4).id)
        for i in range(number)
    ]


def sweep_until_stopped(settings: dict[str, Any]) -> None:
    """Be a sweeper, until SIGTERM. Nothing of this process outlives its parent."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    faulthandler.enable()
    for name in ("fullresult", "psycopg", "pymongo"):
        logging.getLogger(name).addHandler(logging.NullHandler())
    sweeper = make(settings).parts.new_sweeper()
    signal.signal(signal.SIGTERM, lambda *_: sweeper.stop())
    sweeper.run()


@dataclass
class Crowd:
    """Sweeper processes."""

    settings: dict[str, Any]
    processes: list[BaseProcess] = field(default_factory=list)
    killed: int = 0

    def spawn(self, number: int) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        for _ in range(number):
            process = context.Process(target=sweep_until_stopped, args=[self.settings], daemon=True)
            process.start()
            self.processes.append(process)

    def kill_one(self, choice: random.Random) -> None:
        """SIGKILL, as a machine that runs out of memory does it."""
        process = self.processes.pop(choice.randrange(len(self.processes)))
        process.kill()
        process.join(_PATIENCE)
        process.close()
        self.killed += 1

    def stop(self) -> None:
        """Have all end after the message they are sending."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join(_PATIENCE)
            if process.exitcode is None:
                assert process.pid
                os.kill(process.pid, signal.SIGABRT)  # it says where it stands
                raise AssertionError(f"sweeper {process.pid} did not stop")
        self.processes.clear()


@contextmanager
def crowd(settings: dict[str, Any]) -> Iterator[Crowd]:
    """Sweepers with these Celery settings, killed at the end of the block if they still run."""
    people = Crowd(settings)
    try:
        yield people
    finally:
        for process in people.processes:
            process.kill()
            process.join(_PATIENCE)


class Ledger(NamedTuple):
    """What a storage says of everything that was ever scheduled in it, as ids."""

    waiting: frozenset[str]
    claimed: frozenset[str]
    """Perhaps sent."""
    sent: frozenset[str]

    @classmethod
    def of(cls, full: FullResult) -> Ledger:
        found = full.scheduled(limit=None)
        return cls(
            frozenset(each.task_id for each in found if not each.claimed),
            frozenset(each.task_id for each in found if each.claimed),
            frozenset(each.task_id for each in full.find(state=SCHEDULED_SENT, limit=None)),
        )


def largest_claim(full: FullResult) -> int:
    """How many schedules the largest of the claims left has."""
    claims = Counter(each.claim for each in full.scheduled(claimed=True, limit=None))
    return max(claims.values(), default=0)


def due_and_waiting(full: FullResult) -> int:
    """How many a sweeper could take now."""
    return full.count_scheduled(claimed=False, due_until=full.storage.now())


# --- What is on the broker


def redis_ids(url: str) -> list[str]:
    """The id of each message in the queue, which is left as it is."""
    with redis.Redis.from_url(url) as client:
        return [json.loads(text)["headers"]["id"] for text in client.lrange(QUEUE, 0, -1)]


def drain_rabbitmq(url: str) -> list[str]:
    """Take all messages, and return their ids."""
    parts = urllib.parse.urlsplit(url)
    ids = []
    with (
        amqp.Connection(
            f"{parts.hostname}:{parts.port}", virtual_host=parts.path[1:] or "/"
        ) as connection,
        connection.channel() as channel,
    ):
        while (message := channel.basic_get(QUEUE, no_ack=True)) is not None:
            ids.append(str(message.headers["id"]))
    return ids


# --- Servers that come back


@dataclass
class Node:
    """A server that can be stopped and started again, with what it has on its disk."""

    url: str
    _start: Any
    _stack: ExitStack = field(default_factory=ExitStack)

    def start(self) -> None:
        self._stack.enter_context(self._start())

    def stop(self) -> None:
        self._stack.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@contextmanager
def rabbitmq_node() -> Iterator[Node]:
    """A started RabbitMQ of its own. Raises `ServerUnavailableError`."""
    program, epmd = servers._rabbitmq_programs()
    port, names, management = (servers.free_port() for _ in range(3))
    with servers._directory("rabbitmq") as directory:
        env = servers._rabbitmq_environment(
            directory, port=port, names=names, management=management
        )

        def start() -> Any:
            return servers._running(
                [program],
                ready=lambda: servers._listens(port) and servers._listens(management),
                directory=directory,
                env=env,
                stop=signal.SIGTERM,
            )

        names_known = servers._running(
            [epmd], ready=lambda: servers._listens(names), directory=directory, env=env
        )
        with names_known, Node(f"amqp://guest:guest@{servers.HOST}:{port}//", start) as node:
            yield node


@contextmanager
def mongodb_node(*, replica_set: bool) -> Iterator[Node]:
    """A started mongod of its own, which is killed to be stopped. Raises `ServerUnavailableError`.

    Of a replica set its URL leads to this member alone, whatever name it has there.
    """
    port = servers.free_port()
    url = f"mongodb://{servers.HOST}:{port}/campaign?directConnection=true"
    options = ["--replSet", "rs0"] if replica_set else []
    with servers._directory("mongodb") as directory:

        @contextmanager
        def running() -> Iterator[None]:
            with servers._running_mongod(directory, port, *options):
                if replica_set and is_set_up:
                    _wait_for_primary(url)
                yield

        is_set_up = False
        with Node(url, running) as node:
            if replica_set:
                servers._mongodb_replica_set(port)
            is_set_up = True
            yield node


def _wait_for_primary(url: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        while not client.admin.command("hello")["isWritablePrimary"]:
            if time.monotonic() > deadline:
                raise servers.ServerUnavailableError("the replica set has no primary again")
            time.sleep(0.05)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)
