"""The campaign against the outbox: what committed is sent, once; what did not commit never was.

    python -m tests.campaigns.outbox --kills 1000 --kind psycopg
    python -m tests.campaigns.outbox --kills 300 --sweepers

Publishers write an order and publish its task in one transaction, which they commit, roll back, or
roll back to a savepoint. Each is killed with SIGKILL at a random moment. A sweeper sends meanwhile.
In the end, the orders in the database are held to the messages on the broker, one to one.

With `--sweepers`, two sweepers are killed, too, each when it has just sent a few. What such a one
had claimed is sent, or listed as claimed, for a person to decide about: it is not lost in silence.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import random
import signal
import sqlite3
import sys
import threading
import time
from base64 import b64decode
from collections import Counter
from contextlib import ExitStack, closing
from multiprocessing.connection import Connection
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import psycopg
import redis
from pymongo import MongoClient

from fullresult import FullResult
from tests.kit import servers
from tests.kit.outbox import KINDS, Caller, file_of, publish, shop
from tests.kit.workers import until

_IMPORTED = [
    "celery.app.amqp",
    "fullresult_storage_mongo.plugin",
    "fullresult_storage_sql.postgresql",
    "fullresult_storage_sql.sqlite",
    "kombu.transport.redis",
    "tests.kit.outbox",
]
"""What would take most of a publisher's time. Not this module, which is `__main__`."""
LONGEST = 0.06
"""Seconds that a publisher lives at most after its first transaction."""
_PER_PUBLISHER = 100_000
_PATIENCE = 60.0


class Found(NamedTuple):
    """What the campaign counted."""

    committed: int
    uncommitted_sent: int
    committed_unsent: int
    """Neither sent nor listed."""
    sent_twice: int
    listed: int = 0
    """Listed as claimed, and not sent."""
    sweepers: int = 0
    """How many were killed."""

    @property
    def is_right(self) -> bool:
        lists_rightly = self.sweepers > 0 or self.listed == 0
        return self.committed > 0 and self[1:4] == (0, 0, 0) and lists_rightly


def campaign(
    kind: str, url: str, broker: str, *, kills: int, seed: int, kill_sweepers: bool = False
) -> Found:
    """Kill *kills* publishers, one after the other, and count. *broker* is Redis's."""
    dice = random.Random(seed)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    with shop(url, broker_url=broker, fullresult_sweep_interval=0.1) as full:
        with KINDS[kind][1](url):
            """Its table of orders is there."""
        sweepers = _DyingSweepers(context, url, broker, dice) if kill_sweepers else None
        if sweepers is None:
            full.parts.start_sweeper()
        for number in range(1, kills + 1):
            here, there = context.Pipe()
            process = context.Process(
                target=_publish_until_killed, args=(kind, url, broker, number, dice.random(), there)
            )
            process.start()
            if not here.poll(_PATIENCE):
                raise TimeoutError(f"publisher {number} did not begin")
            time.sleep(dice.uniform(0, LONGEST))
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
        if sweepers is not None:
            sweepers.end()
            full.parts.start_sweeper()
        until(lambda: not full.scheduled(claimed=False, limit=1), timeout=_PATIENCE)
        full.parts.stop_sweeper(full.settings.storage_timeout)
        listed = {_order_of(schedule.body) for schedule in full.scheduled(limit=None)}
        found = _compare(_orders(url), _sent(broker), listed)
        return found._replace(sweepers=sweepers.killed if sweepers else 0)


class _DyingSweepers:
    """Two processes that sweep; each is killed when a few more tasks are sent, and followed."""

    def __init__(self, context: Any, url: str, broker: str, dice: random.Random) -> None:
        self.killed = 0
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(context, url, broker, dice.random()))
            for _ in range(2)
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, context: Any, url: str, broker: str, seed: float) -> None:
        dice = random.Random(seed)
        with closing(redis.Redis.from_url(broker)) as client:
            while not self._end.is_set():
                process = context.Process(target=_sweep_until_killed, args=(url, broker))
                process.start()
                enough = client.llen("celery") + dice.randrange(1, 12)
                while client.llen("celery") < enough and not self._end.is_set():
                    time.sleep(0.0005)
                time.sleep(dice.uniform(0, 0.004))
                os.kill(process.pid or 0, signal.SIGKILL)
                process.join()
                self.killed += 1

    def end(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()


def _sweep_until_killed(url: str, broker: str) -> None:
    with shop(url, set_up=False, broker_url=broker, fullresult_auto_setup=False) as full:
        sweeper = full.parts.new_sweeper()
        while True:
            sweeper.sweep()
            time.sleep(0.005)


def _publish_until_killed(
    kind: str, url: str, broker: str, number: int, seed: float, ready: Connection
) -> None:
    dice = random.Random(seed)
    # To set up again would wait for what a killed one left open: MongoDB keeps that for a minute.
    with (
        shop(url, set_up=False, broker_url=broker, fullresult_auto_setup=False) as full,
        KINDS[kind][1](url) as caller,
    ):
        endings = ["commit", "commit", "rollback"] + ["to savepoint"] * caller.has_savepoints
        for order in itertools.count(number * _PER_PUBLISHER, 2):
            how = dice.choice(endings)
            caller.begin()
            if how == "to savepoint":
                caller.insert(order + 1)
                _publish_into(full, caller, order + 1)
                caller.savepoint()
            caller.insert(order)
            _publish_into(full, caller, order)
            if how == "to savepoint":
                caller.rollback_to_savepoint()
            if how == "rollback":
                caller.rollback()
            else:
                caller.commit()
            ready.send(order)


def _publish_into(full: FullResult, caller: Caller, order: int) -> None:
    with full.outbox(caller.connection):
        publish(full, order)


def _compare(orders: set[int], sent: Counter[int], listed: set[int]) -> Found:
    return Found(
        committed=len(orders),
        uncommitted_sent=len((sent.keys() | listed) - orders),
        committed_unsent=len(orders - sent.keys() - listed),
        sent_twice=sum(times > 1 for times in sent.values()),
        listed=len(listed - sent.keys()),
    )


def _orders(url: str) -> set[int]:
    """The orders that committed."""
    query = "SELECT id FROM orders"
    if url.startswith("postgresql"):
        with psycopg.connect(url) as connection:
            return {row[0] for row in connection.execute(query)}
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(file_of(url))) as file:
            return {row[0] for row in file.execute(query)}
    with MongoClient[dict[str, Any]](url) as client:
        return {found["_id"] for found in client.get_default_database("test")["orders"].find()}


def _sent(broker: str) -> Counter[int]:
    """The orders that the messages on the broker are of, with repetitions."""
    with closing(redis.Redis.from_url(broker)) as client:
        messages = [json.loads(each) for each in client.lrange("celery", 0, -1)]
    return Counter(_order_of(b64decode(message["body"])) for message in messages)


def _order_of(body: bytes) -> int:
    args, _, _ = json.loads(body)
    return int(args[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--sweepers", action="store_true", help="kill these, too")
    given = parser.parse_args()
    sys.stdout.write(f"seed {given.seed}\n")
    for kind in given.kind or ["psycopg", "sqlite3", "pymongo"]:
        with ExitStack() as stack:
            directory = stack.enter_context(TemporaryDirectory())
            url = f"sqlite:///{directory}/records.db"
            if KINDS[kind][0] == "postgresql":
                url = stack.enter_context(
                    servers.postgresql_database(stack.enter_context(servers.postgresql()))
                )
            elif KINDS[kind][0] == "mongodb":
                url = stack.enter_context(
                    servers.mongodb_database(stack.enter_context(servers.mongodb()))
                )
            broker = stack.enter_context(servers.redis())
            how = {"kills": given.kills, "seed": given.seed, "kill_sweepers": given.sweepers}
            found = campaign(kind, url, broker, **how)
            sys.stdout.write(f"{kind}: {given.kills} kills, {found}\n")
            if not found.is_right:
                raise SystemExit(1)


if __name__ == "__main__":
    main()
