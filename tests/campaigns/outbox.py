"""The campaign against the outbox: what committed is sent, once; what did not commit never was.

    python -m tests.campaigns.outbox --kills 1000 --kind psycopg

Publishers write an order and publish its task in one transaction, which they commit, roll back, or
roll back to a savepoint. Each is killed with SIGKILL at a random moment. A sweeper sends meanwhile.
In the end, the orders in the database are held to the messages on the broker, one to one.
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
    sent_twice: int

    @property
    def is_right(self) -> bool:
        return self.committed > 0 and self[1:] == (0, 0, 0)


def campaign(kind: str, url: str, broker: str, *, kills: int, seed: int) -> Found:
    """Kill *kills* publishers, one after the other, and count. *broker* is Redis's."""
    dice = random.Random(seed)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    with shop(url, broker_url=broker, fullresult_sweep_interval=0.1) as full:
        with KINDS[kind][1](url):
            """Its table of orders is there."""
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
        until(lambda: not full.scheduled(limit=1), timeout=_PATIENCE)
        full.parts.stop_sweeper(full.settings.storage_timeout)
        return _compare(_orders(url), _sent(broker))


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


def _compare(orders: set[int], sent: Counter[int]) -> Found:
    return Found(
        committed=len(orders),
        uncommitted_sent=len(sent.keys() - orders),
        committed_unsent=len(orders - sent.keys()),
        sent_twice=sum(times > 1 for times in sent.values()),
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
    bodies = [json.loads(b64decode(message["body"])) for message in messages]
    return Counter(args[0] for args, _, _ in bodies)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--kind", choices=KINDS, action="append")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
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
            found = campaign(kind, url, broker, kills=given.kills, seed=given.seed)
            sys.stdout.write(f"{kind}: {given.kills} kills, {found}\n")
            if not found.is_right:
                raise SystemExit(1)


if __name__ == "__main__":
    main()
