"""The campaign against the sweeper: no task is sent twice, and none vanishes, whatever happens.

    python -m tests.campaigns.at_most_once --rounds 1000 --storage postgresql --broker rabbitmq

Each round schedules tasks for a crowd of sweepers, kills some of them in the middle, and breaks
the broker or the storage in a way chosen by the seed. Then every message on the broker is counted.
A round that fails says its seed: `--seed` runs it again (what the processes do in between stays
theirs).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sqlite3
import sys
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pymongo
import redis

from tests.kit import servers, sweeping
from tests.kit.proxy import Cut, Delay, Fault, LoseAnswer, Proxy, proxy
from tests.kit.scheduling import sweep
from tests.kit.workers import STORAGES, until

if TYPE_CHECKING:
    from collections.abc import Iterator

MARKERS = {"redis": b"LPUSH", "rabbitmq": b"\x00\x3c\x00\x28"}
"""What a client says where it publishes; of AMQP, the number of `basic.publish`."""
TROUBLES = ("none", "network", "network", "refused", "broker", "storage")
_PATIENCE = 60.0


class Store(NamedTuple):
    """A storage that can be broken."""

    url: str
    break_it: Callable[[random.Random], None]
    heal: Callable[[], None] = lambda: None
    """What `break_it` left broken."""
    troubles: tuple[str, ...] = TROUBLES
    """What may happen in a round, the more often the more often it is named."""


@dataclass
class Campaign:
    """One store, one broker, and all that was scheduled."""

    storage: Store
    broker: str
    between: Proxy
    break_broker: Callable[[random.Random], None]
    take: Callable[[], list[str]]
    """The ids of the messages that came since it was called last, with repetitions."""
    settings: dict[str, Any] = field(default_factory=dict)
    scheduled: set[str] = field(default_factory=set)
    arrived: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    left_claimed: int = 0
    largest_claim: int = 0

    def __post_init__(self) -> None:
        scheme = "redis://" if self.broker == "redis" else "amqp://guest:guest@"
        path = "/0" if self.broker == "redis" else "//"
        self.settings = {
            "broker_url": f"{scheme}{servers.HOST}:{self.between.port}{path}",
            "broker_connection_timeout": 2,
            "fullresult_storage": self.storage.url,
            "fullresult_sweep_interval": 0.2,
            "fullresult_storage_timeout": 2,
            **self.settings,
        }
        self.full = sweeping.make(self.settings)
        self.full.setup()

    def round(self, seed: int, *, tasks: int, sweepers: int, kills: int) -> str:
        """One round, and the assertions after it; what happened in it."""
        choice = random.Random(seed)
        trouble = choice.choice(self.storage.troubles)
        before = sweeping.Ledger.of(self.full)
        with sweeping.crowd(self.settings) as crowd:
            crowd.spawn(sweepers)
            self.scheduled |= set(sweeping.schedule(self.full, tasks, countdown=0.5))
            # Trouble comes while they are being sent.
            until(lambda: sweeping.due_and_waiting(self.full), 2)
            self._make(trouble, choice)
            for _ in range(kills):
                time.sleep(choice.uniform(0, 0.15))
                crowd.kill_one(choice)
                crowd.spawn(1)
            self.between.heal()
            self.storage.heal()
            self._settle()
            crowd.stop()
        until(self._adds_up, _PATIENCE)
        self.kills += kills
        return f"{trouble}, {self._check(before)}"

    def _make(self, trouble: str, choice: random.Random) -> None:
        if trouble == "network":
            self.between.plan = faults(MARKERS[self.broker], choice)
        elif trouble == "refused":
            self.between.refuse()
            time.sleep(choice.uniform(0, 0.5))
            self.between.accept()
        elif trouble == "broker":
            self.break_broker(choice)
        elif trouble == "storage":
            self.storage.break_it(choice)

    def _settle(self) -> None:
        """Wait until the sweepers have nothing to take."""
        done = until(lambda: not self.full.count_scheduled(claimed=False), _PATIENCE)
        assert done, f"{self.full.count_scheduled(claimed=False)} wait, and nobody takes them"

    def _adds_up(self) -> bool:
        """Whether nothing is missing, or there twice: sent, waiting or claimed."""
        # What they gave back as they stopped, or left half done as they were killed.
        sweep(self.full)
        now = sweeping.Ledger.of(self.full)
        return Counter([*now.waiting, *now.claimed, *now.sent]) == Counter(self.scheduled)

    def _check(self, before: sweeping.Ledger) -> str:
        new = self.take()
        self.arrived.update(new)
        twice = {task_id: count for task_id, count in self.arrived.items() if count > 1}
        assert not twice, f"sent more than once: {twice}"
        assert self._adds_up(), "sent + waiting + claimed != scheduled"
        now = sweeping.Ledger.of(self.full)
        assert not now.waiting, "some wait although they are due"
        assert now.sent <= set(self.arrived), "marked as sent, and not on the broker"
        stale = self.full.get_stale_scheduled_tasks(sweeping.seconds(0))
        assert {each.task_id for each in stale} == now.claimed, "not all that is claimed is shown"
        left = now.claimed - before.claimed
        self.left_claimed += len(left)
        self.largest_claim = max(self.largest_claim, sweeping.largest_claim(self.full))
        self._mend(now.claimed & before.claimed)
        return f"{len(new)} arrived, {len(left)} left claimed"

    def _mend(self, claimed: frozenset[str]) -> None:
        """Release what is not on the broker: the next round sends it.

        Only what was left the round before: of this one, a message may still be on its way. Not as
        a person would, who waits for a minute.
        """
        storage = self.full.parts.schedule_storage
        for schedule in self.full.scheduled(claimed=True, limit=None):
            task_id = schedule.task_id
            if task_id in claimed - set(self.arrived):
                released = storage.release([schedule.schedule_id], schedule.claim)
                assert released, f"{task_id} could not be released"


def faults(marker: bytes, choice: random.Random) -> Callable[[bytes], Fault | None]:
    """A network that fails, by chance, where something is published."""

    def plan(piece: bytes) -> Fault | None:
        if marker not in piece or choice.random() > 0.05:
            return None
        cuts = [Cut(0), Cut(choice.randrange(len(piece)))]
        possible: list[Fault] = [LoseAnswer(), LoseAnswer(), *cuts, Delay(choice.uniform(0, 0.3))]
        return choice.choice(possible)

    return plan


# --- Stores and brokers


@contextmanager
def campaign(storage: str, broker: str) -> Iterator[Campaign]:
    """A new store of the kind *storage*, and a new server of the kind *broker*."""
    with ExitStack() as stack:
        os.environ["XDG_STATE_HOME"] = stack.enter_context(TemporaryDirectory())
        open_broker = _with_redis if broker == "redis" else _with_rabbitmq
        yield stack.enter_context(open_broker(stack.enter_context(_storage(storage))))


@contextmanager
def _storage(kind: str) -> Iterator[Store]:
    if kind == "postgresql":
        with servers.postgresql() as server, servers.postgresql_database(server) as url:
            yield Store(url, lambda choice: _break_postgresql(url, choice))
    elif kind == "sqlite":
        with TemporaryDirectory(prefix="fullresult-campaign-") as directory:
            file = Path(directory) / "fullresult.db"
            yield Store(f"sqlite:///{file}", lambda choice: _break_sqlite(file, choice))
    else:
        with _mongodb(replica_set=kind == "mongodb") as store:
            yield store


@contextmanager
def _mongodb(*, replica_set: bool) -> Iterator[Store]:
    with sweeping.mongodb_node(replica_set=replica_set) as node:
        port = urllib.parse.urlsplit(node.url).port
        assert port is not None
        with proxy(servers.HOST, port) as between:
            yield Store(
                node.url.replace(f":{port}/", f":{between.port}/"),
                lambda choice: _break_mongodb(node, between, choice),
                between.heal,
                (*TROUBLES, "storage", "storage", "storage"),
            )


@contextmanager
def _with_redis(storage: Store) -> Iterator[Campaign]:
    with servers.redis() as url:
        port = urllib.parse.urlsplit(url).port
        assert port is not None

        def take() -> list[str]:
            ids = sweeping.redis_ids(f"{url}/0")
            with redis.Redis.from_url(f"{url}/0") as client:
                client.ltrim(sweeping.QUEUE, len(ids), -1)
            return ids

        with proxy(servers.HOST, port) as between:
            made = Campaign(storage, "redis", between, lambda c: _break_redis(url, c), take)
            yield from _closing(made)


@contextmanager
def _with_rabbitmq(storage: Store) -> Iterator[Campaign]:
    with sweeping.rabbitmq_node() as node:
        port = urllib.parse.urlsplit(node.url).port
        assert port is not None

        def restart(choice: random.Random) -> None:
            node.stop()
            time.sleep(choice.uniform(0, 1))
            node.start()

        with proxy(servers.HOST, port) as between:
            take = lambda: sweeping.drain_rabbitmq(node.url)  # noqa: E731
            yield from _closing(Campaign(storage, "rabbitmq", between, restart, take))


def _closing(made: Campaign) -> Iterator[Campaign]:
    try:
        yield made
    finally:
        made.full.close()
        made.full.app.close()


def _break_redis(url: str, choice: random.Random) -> None:
    """No memory, or no longer the primary, for a moment."""
    with redis.Redis.from_url(f"{url}/0") as client:
        if choice.random() < 0.5:
            client.config_set("maxmemory", 1)
            time.sleep(choice.uniform(0, 0.5))
            client.config_set("maxmemory", 0)
        else:
            client.replicaof(servers.HOST, servers.free_port())
            time.sleep(choice.uniform(0, 0.5))
            client.replicaof("NO", "ONE")


def _break_sqlite(file: Path, choice: random.Random) -> None:
    """Nobody can write for a moment."""
    with closing(sqlite3.connect(file)) as locking:
        locking.isolation_level = None
        locking.execute("BEGIN IMMEDIATE")
        time.sleep(choice.uniform(0, 1))
        locking.execute("ROLLBACK")


def _break_postgresql(url: str, choice: random.Random) -> None:
    """Connections end in the middle of what they do."""
    with psycopg.connect(url, autocommit=True) as ending:
        for _ in range(8):
            ending.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            time.sleep(choice.uniform(0, 0.1))


def _break_mongodb(node: sweeping.Node, between: Proxy, choice: random.Random) -> None:
    """It crashes, ends what it is at, or the network before it fails, until it is healed."""
    trouble = choice.choice(("crash", "kill", "cut", "faults", "refuse"))
    if trouble == "crash":
        node.stop()
        time.sleep(choice.uniform(0, 0.5))
        node.start()
    elif trouble == "kill":
        _kill_operations(node.url, choice)
    elif trouble == "faults":
        between.plan = faults(b"", choice)
    elif trouble == "refuse":
        between.refuse()
        time.sleep(choice.uniform(0, 1))
        between.accept()
    else:
        for _ in range(8):
            between.cut_all()
            time.sleep(choice.uniform(0, 0.1))


def _kill_operations(url: str, choice: random.Random) -> None:
    """What clients wait for ends with an error, and what they read on with is gone."""
    ended = time.monotonic() + choice.uniform(0.1, 0.5)
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        while time.monotonic() < ended:
            active = {"active": True, "ns": {"$regex": "^campaign"}}
            for each in client.admin.aggregate([{"$currentOp": {}}, {"$match": active}]):
                client.admin.command("killOp", op=each["opid"])
            client.admin.command("killAllSessions", [])


# --- The command


def main(arguments: list[str] | None = None) -> None:
    given = _arguments(arguments)
    seed = given.seed if given.seed is not None else random.randrange(10**9)
    print(f"seed {seed}", flush=True)  # noqa: T201
    with campaign(given.storage, given.broker) as made:
        began = time.monotonic()
        for number in range(given.rounds):
            try:
                said = made.round(
                    seed + number, tasks=given.tasks, sweepers=given.sweepers, kills=given.kills
                )
            except BaseException:
                print(f"\nround {number}: --seed {seed + number}", file=sys.stderr)  # noqa: T201
                raise
            _progress(number, given.rounds, said)
        print(  # noqa: T201
            f"{given.storage} and {given.broker}: {given.rounds} rounds in "
            f"{time.monotonic() - began:.0f} s, {len(made.scheduled)} scheduled, "
            f"{sum(made.arrived.values())} arrived, 0 twice; {made.between.faults} faults, "
            f"{made.kills} kills, {made.left_claimed} left claimed, at most "
            f"{made.largest_claim} by one claim"
        )


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.at_most_once")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--storage", choices=STORAGES, default="sqlite")
    parser.add_argument("--broker", choices=["redis", "rabbitmq"], default="redis")
    parser.add_argument("--tasks", type=int, default=300, help="in each round")
    parser.add_argument("--sweepers", type=int, default=3, help="at any time")
    parser.add_argument("--kills", type=int, default=3, help="in each round")
    parser.add_argument("--seed", type=int, help="of the first round; the next has one more")
    return parser.parse_args(arguments)


def _progress(number: int, rounds: int, said: str) -> None:
    if sys.stdout.isatty():
        print(f"\r\x1b[K{number + 1}/{rounds}: {said}", end="", flush=True)  # noqa: T201
        if number + 1 == rounds:
            print()  # noqa: T201
    elif (number + 1) % 20 == 0:
        print(f"{number + 1}/{rounds}: {said}", flush=True)  # noqa: T201


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
