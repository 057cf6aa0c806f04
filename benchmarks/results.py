"""What results cost beside Celery's own backends, on real servers that this starts.

Long because all its measurements are taken beside one another, on the same servers, in one run.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

# Run as a script, from anywhere.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg
import pymongo
import redis
from celery import chain, chord, group
from celery.exceptions import TimeoutError as GetTimeout

from benchmarks.meter import Reading
from benchmarks.places import process
from benchmarks.results_app import make_app
from benchmarks.stores import Stores

if TYPE_CHECKING:
    from celery import Celery, Task

_PATIENCE = 300
_MINUTE = 60


@dataclass(frozen=True)
class Backend:
    """A result backend, and the server that keeps its results."""

    store: str
    """Which of `Stores`."""
    url: Callable[[str], str]
    """Celery's `result_backend`, by the URL of the store."""
    recorded_in: str = ""
    """Which of `Stores` has records of everything, where the results are elsewhere."""


BACKENDS = {
    "redis": Backend("redis", str),
    "database": Backend(
        "postgresql", lambda url: "db+" + url.replace("postgresql://", "postgresql+psycopg://")
    ),
    "mongodb": Backend("mongodb", str),
    "redis-recorded": Backend("redis", str, "postgresql"),
    "fullresult-sqlite": Backend("sqlite", lambda _: "fullresult://"),
    "fullresult-postgresql": Backend("postgresql", lambda _: "fullresult://"),
    "fullresult-mongodb": Backend("mongodb", lambda _: "fullresult://"),
}
OURS = tuple(name for name in BACKENDS if name.startswith("fullresult"))


@dataclass(frozen=True)
class Place:
    """An empty backend, and a broker beside it."""

    name: str
    broker: str
    store: str
    records: str
    """The URL of what records everything; "" for nothing."""

    @contextmanager
    def app(self) -> Iterator[Celery]:
        with make_app(self.broker, BACKENDS[self.name].url(self.store), self.records) as app:
            yield app


@contextmanager
def place(stores: Stores, name: str) -> Iterator[Place]:
    backend = BACKENDS[name]
    with (
        stores.empty("redis") as broker,
        stores.empty(backend.store) as store,
        stores.empty(backend.recorded_in) as records,
    ):
        pids = stores.server_pids(backend.store) | stores.server_pids(backend.recorded_in)
        os.environ["BENCHMARK_SERVER_PIDS"] = " ".join(map(str, pids))
        # Ours records first, and shows that.
        yield Place(name, broker, store, store if name in OURS else records)


# --- Latency


def latency(here: Place, scale: float) -> dict[str, float]:
    """Milliseconds from when a result was stored, by another thread, to when `get` returned it.

    Each is waited for on its own, in a quiet process, for 20 to 300 ms.
    """
    count = max(int(200 * scale), 20)
    with here.app() as reader, here.app() as writer, ThreadPoolExecutor(1) as pool:
        late = []
        for n in range(count):
            task_id = f"latency-{n}"
            stored = pool.submit(_store_later, writer, task_id, 0.02 + 0.28 * n / count)
            reader.AsyncResult(task_id).get(timeout=_PATIENCE)
            seen = time.perf_counter()
            late.append((seen - stored.result(_PATIENCE)) * 1000)
    late.sort()
    return {
        "median ms": median(late),
        "p99 ms": late[int(len(late) * 0.99)],
        "worst ms": late[-1],
    }


def _store_later(app: Celery, task_id: str, seconds: float) -> float:
    """The time at which the result was stored; it may have been seen a little earlier."""
    time.sleep(seconds)
    app.backend.store_result(task_id, 1, "SUCCESS")
    return time.perf_counter()


# --- Cost


def cost(here: Place, scale: float) -> dict[str, float]:
    """What storing a result and reading one cost, in the process and on the servers."""
    count = max(int(2000 * scale), 100)
    with here.app() as writer, here.app() as reader:
        writer.backend.store_result("warm", 1, "SUCCESS")
        reader.AsyncResult("warm").get(timeout=_PATIENCE)
        stored = _measured(
            lambda n: writer.backend.store_result(f"cost-{n}", {"n": n}, "SUCCESS"), count
        )
        read = _measured(lambda n: reader.AsyncResult(f"cost-{n}").get(timeout=_PATIENCE), count)
        trips = _round_trips(here, reader, count)
    return {
        "store ms": stored[0],
        "store CPU ms": stored[1],
        "store servers' CPU ms": stored[2],
        "get ms": read[0],
        "get CPU ms": read[1],
        "get servers' CPU ms": read[2],
        "questions while 1 s is waited": trips,
    }


def _measured(do: Callable[[int], object], count: int) -> tuple[float, float, float]:
    """Milliseconds each: wall, CPU of this process, CPU of the servers."""
    before, cpu = Reading.now(os.getpid()), time.process_time()
    for n in range(count):
        do(n)
    after, cpu = Reading.now(os.getpid()), time.process_time() - cpu
    wall, servers = after.wall - before.wall, after.server_cpu - before.server_cpu
    return wall * 1000 / count, cpu * 1000 / count, servers * 1000 / count


def _round_trips(here: Place, app: Celery, count: int) -> float:
    """How many statements or commands the server sees while one `get` waits for a second."""
    app.AsyncResult(f"cost-{count - 1}").get(timeout=_PATIENCE)
    before = _questions(here)
    if before is None:
        return float("nan")
    with suppress(GetTimeout):
        app.AsyncResult("never").get(timeout=1)
    # Asking costs one itself.
    return max((_questions(here) or 0) - before - 1, 0)


def _questions(here: Place) -> int | None:
    """What the server was asked so far: transactions or commands; None of a file."""
    kind = BACKENDS[here.name].store
    if kind == "redis":
        with redis.Redis.from_url(here.store) as client:
            return int(client.info("stats")["total_commands_processed"])
    if kind == "mongodb":
        with pymongo.MongoClient[dict[str, Any]](here.store) as client:
            counters = client.admin.command("serverStatus")["opcounters"]
            return int(counters["query"])
    if kind == "postgresql":
        # A backend hands in the last of its figures when it was idle for ten seconds.
        time.sleep(11)
        with psycopg.connect(here.store) as connection:
            row = connection.execute(
                "SELECT xact_commit + xact_rollback FROM pg_stat_database"
                " WHERE datname = current_database()"
            ).fetchone()
        return int(row[0]) if row else 0
    return None


# --- Connections


def connections(here: Place, scale: float) -> dict[str, float]:
    """What 500 threads that wait for different results open, and when the last one is served.

    A minute at most. Of the database backend's threads a tenth: each connects twice a second, and
    what the server refuses is never served.
    """
    threads = max(int((50 if here.name == "database" else 500) * scale), 10)
    with here.app() as app, here.app() as writer, ThreadPoolExecutor(threads) as pool:
        writer.backend.store_result("warm", 1, "SUCCESS")
        app.AsyncResult("warm").get(timeout=_MINUTE)
        before, cpu = _connections(here), time.process_time()
        waiting = [pool.submit(_wait, app, f"waiting-{n}") for n in range(threads)]
        time.sleep(3)
        cpu = (time.process_time() - cpu) / 3
        opened = _connections(here) - before
        begin = time.perf_counter()
        for n in range(threads):
            if time.perf_counter() - begin < _MINUTE:
                with suppress(Exception):
                    writer.backend.store_result(f"waiting-{n}", 1, "SUCCESS")
        served = sum(future.result() for future in waiting)
        seconds = time.perf_counter() - begin
    return {
        "threads": threads,
        "connections": opened,
        "CPU while waiting": cpu,
        "served": served,
        "after s": seconds,
    }


def _wait(app: Celery, task_id: str) -> bool:
    """Whether it came within a minute, and no server refused."""
    with suppress(Exception):
        app.AsyncResult(task_id).get(timeout=_MINUTE)
        return True
    return False


def _connections(here: Place) -> float:
    """How many the server has; infinitely many where it takes no more."""
    try:
        return _open_connections(here)
    except psycopg.OperationalError:
        return float("inf")


def _open_connections(here: Place) -> int:
    kind = BACKENDS[here.name].store
    if kind == "redis":
        with redis.Redis.from_url(here.store) as client:
            return int(client.info("clients")["connected_clients"])
    if kind == "mongodb":
        with pymongo.MongoClient[dict[str, Any]](here.store) as client:
            return int(client.admin.command("serverStatus")["connections"]["current"])
    if kind == "postgresql":
        with psycopg.connect(here.store) as connection:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            ).fetchone()
        return int(row[0]) if row else 0
    file = here.store.removeprefix("sqlite:///")
    opened = (os.path.realpath(path) for path in Path("/proc/self/fd").iterdir())
    return sum(name.startswith(file) for name in opened)


# --- Chords


def chords(here: Place, scale: float) -> dict[str, float]:
    """A chord of 1,000 empty tasks by a prefork worker of two.

    From its publishing to its result; and from the end of its last member until its body runs.
    """
    size = max(int(1000 * scale), 20)
    return _chord(here, size, lambda member, _: [member.s() for _ in range(size)])


def large_chords(here: Place, scale: float) -> dict[str, float]:
    """The same with 10,000 members."""
    size = max(int(10_000 * scale), 20)
    return _chord(here, size, lambda member, _: [member.s() for _ in range(size)])


def nested_chords(here: Place, scale: float) -> dict[str, float]:
    """The same with 100 chains, each of which ends in a group of 100."""
    width = max(int(100 * scale), 3)

    def header(member: Task, _: Task) -> list[Any]:
        return [chain(member.si(), group(member.si() for _ in range(width))) for _ in range(width)]

    return _chord(here, width * width, header, body="latest_of_groups")


def growing_chords(here: Place, scale: float) -> dict[str, float]:
    """The same with 500 members, each of which adds one while it runs."""
    size = max(int(500 * scale), 10)
    return _chord(here, 2 * size, lambda _, adding: [adding.s() for _ in range(size)])


def _chord(
    here: Place,
    size: int,
    header: Callable[[Task, Task], Any],
    body: str = "latest",
) -> dict[str, float]:
    command = (
        "celery -A benchmarks.results_app worker -P prefork -c 2 --loglevel=WARNING"
        " --without-gossip --without-mingle --without-heartbeat"
    )
    environment = {
        "BENCHMARK_BROKER": here.broker,
        "BENCHMARK_BACKEND": BACKENDS[here.name].url(here.store),
        "BENCHMARK_STORE": here.records,
    }
    with here.app() as app, process(command, **environment) as worker:
        tasks = {name.partition(".")[2]: task for name, task in app.tasks.items()}
        member = tasks["ended_at"]
        chord([member.s(), member.s()])(tasks["latest"].s()).get(timeout=_PATIENCE)
        before = _cpu_of(worker.pid)
        begin = time.perf_counter()
        result = chord(header(member, tasks["one_more"]))(tasks[body].s())
        published = time.perf_counter() - begin
        # To follow parents asks for each member, twice a second.
        last, ran = result.get(timeout=_PATIENCE, follow_parents=False)
        whole = time.perf_counter() - begin
        cpu = _cpu_of(worker.pid) - before
    return {
        "members": size,
        "CPU ms each": cpu * 1000 / size,
        "published s": published,
        "whole s": whole,
        "join ms": (ran - last) * 1000,
    }


def _cpu_of(worker: int) -> float:
    """Seconds of CPU so far: of this process, the worker, the broker and the storage's server."""
    reading = Reading.now(worker)
    return reading.cpu + reading.server_cpu + time.process_time()


# --- Promises


def promises(found: dict[str, dict[str, dict[str, float]]]) -> Iterator[str]:
    """Each promise with what was measured for it, and whether it is kept."""
    for name in OURS:
        if late := found.get("latency", {}).get(name):
            yield _verdict(f"{name}: seen within 10 ms, median", late["median ms"], 10)
        if opened := found.get("connections", {}).get(name):
            yield _verdict(f"{name}: connections of waiting threads", opened["connections"], 20)
        chorded = found.get("chords", {})
        if name in chorded and "database" in chorded:
            share = chorded[name]["join ms"] / chorded["database"]["join ms"]
            yield _verdict(f"{name}: a chord's join, of the database backend's", share, 0.1)
        if name in chorded and "redis" in chorded:
            share = chorded[name]["whole s"] / chorded["redis"]["whole s"]
            yield _verdict(f"{name}: a chord, of redis's", share, 2)


def _verdict(what: str, value: float, limit: float) -> str:
    return f"{what}: {value:.3g}, at most {limit:g}: {'kept' if value <= limit else 'BROKEN'}"


Part = Callable[[Place, float], dict[str, float]]
PARTS: dict[str, tuple[str, Part]] = {
    "latency": ("How late a result is seen", latency),
    "cost": ("What a result costs", cost),
    "connections": ("What many waiting threads open", connections),
    "chords": ("When a chord is complete", chords),
    "large": ("When a large chord is complete", large_chords),
    "nested": ("When a chord of groups is complete", nested_chords),
    "growing": ("When a chord that is added to is complete", growing_chords),
}


def main() -> int:
    options = _options()
    found: dict[str, dict[str, dict[str, float]]] = {}
    with ExitStack() as stack:
        stores = Stores(stack)
        for part in options.only:
            title, run = PARTS[part]
            print(f"\n{title}")
            for name in options.backend:
                with place(stores, name) as here:
                    figures = run(here, options.scale)
                found.setdefault(part, {})[name] = figures
                told = ", ".join(f"{what} {value:.4g}" for what, value in figures.items())
                print(f"  {name}: {told}", flush=True)
    print("\nPromises")
    for line in promises(found):
        print(f"  {line}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=_some(tuple(PARTS)), default=list(PARTS), metavar="PARTS")
    parser.add_argument("--backend", type=_some(tuple(BACKENDS)), default=list(BACKENDS))
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of all numbers; 0.05 is a smoke run"
    )
    parser.epilog = (
        f"PARTS, separated by commas: {', '.join(PARTS)}; backends: {', '.join(BACKENDS)}"
    )
    return parser.parse_args()


def _some(known: Sequence[str]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        names = text.split(",")
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"{unknown.pop()!r} is none of {', '.join(known)}")
        return names

    return read


if __name__ == "__main__":
    sys.exit(main())
