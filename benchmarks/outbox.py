"""What an outbox costs, and how soon its tasks run, beside other ways to publish with a commit.

    python benchmarks/outbox.py
    python benchmarks/outbox.py --only publishing --scale 0.1

    python benchmarks/outbox.py --only waking --storage mongodb

On PostgreSQL and Redis, which this starts. django-celery-outbox takes part where it is installed.
On SQLite and MongoDB there is only `waking`.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import redis
from celery import Celery

# Run as a script, from anywhere.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.places import Places, process, wait_for, worker
from tests.kit.outbox import KINDS, Caller

ROUNDS = 9
RIVAL = "django-celery-outbox"
_SWEEP = "celery -A benchmarks.outbox_app fullresult sweep --loop"
_KIND_OF = {"postgresql": "psycopg", "sqlite": "sqlite3", "mongodb": "pymongo"}
Transaction = Callable[[int], object]
"""Writes the order of a number, and publishes its task."""


def main() -> int:
    options = _options()
    with ExitStack() as stack:
        places = Places(stack)
        store = stack.enter_context(places.storage(options.storage))
        broker = stack.enter_context(places.broker("redis"))
        os.environ.update(BENCHMARK_STORE=store, BENCHMARK_BROKER=broker)
        if options.storage == "postgresql":
            _set_up_django()
            with psycopg.connect(store, autocommit=True) as connection:
                connection.execute("CREATE TABLE orders (id bigint PRIMARY KEY)")
        else:
            options.only = ["waking"]
        for name in options.only:
            print(f"\n{PARTS[name].__doc__}")
            for line in PARTS[name](store, broker, options.scale):
                print(f"  {line}", flush=True)
    return 0


# --- Publishing


def publishing(store: str, broker: str, scale: float) -> Iterator[str]:  # noqa: ARG001
    """What a transaction with one task costs its publisher, and the same without a task."""
    times = max(int(200 * scale), 10)
    number = iter(range(10**9))
    with _contenders(store) as contenders:
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
        for _ in range(ROUNDS + 1):
            for name in random.sample([*contenders], len(contenders)):
                begin = time.perf_counter(), time.process_time()
                for _ in range(times):
                    contenders[name](next(number))
                wall, cpu = time.perf_counter() - begin[0], time.process_time() - begin[1]
                taken[name].append((wall / times * 1e3, cpu / times * 1e3))
    for name, rounds in taken.items():
        walls, cpus = zip(*rounds[1:], strict=True)  # the first one warms up
        yield f"{name}: {_figures(walls)} ms, of which CPU {_figures(cpus)} ms"


@contextmanager
def _contenders(store: str) -> Iterator[dict[str, Transaction]]:
    from celery.contrib.django.task import DjangoTask
    from django.db import connection, transaction

    from benchmarks import outbox_app

    recorded, plain = outbox_app.ours(), outbox_app.plain()
    on_commit = plain.task(name="shop.charge", base=DjangoTask)(_charge)
    with psycopg.connect(store) as own:

        def insert(order: int) -> None:
            own.execute("INSERT INTO orders VALUES (%s)", (order,))

        def nothing(order: int) -> None:
            insert(order)
            own.commit()

        def delay(order: int) -> None:
            nothing(order)
            recorded.send_task("shop.charge", (order,))

        def outbox(order: int) -> None:
            insert(order)
            with recorded.fullresult.outbox(own):
                recorded.send_task("shop.charge", (order,))
            own.commit()

        def in_django(publish: Callable[[int], object]) -> Transaction:
            def run(order: int) -> None:
                with transaction.atomic(), connection.cursor() as cursor:
                    cursor.execute("INSERT INTO orders VALUES (%s)", (order,))
                    publish(order)

            return run

        def in_outbox(order: int) -> None:
            with recorded.fullresult.outbox("default"):
                recorded.send_task("shop.charge", (order,))

        found: dict[str, Transaction] = {
            "psycopg, no task": nothing,
            "psycopg, recorded delay() after the commit": delay,
            "psycopg, outbox": outbox,
            "Django, no task": in_django(lambda _: None),
            "Django, delay_on_commit (not recorded)": in_django(on_commit.delay_on_commit),
            "Django, outbox": in_django(in_outbox),
        }
        if find_spec("django_celery_outbox"):
            rival = outbox_app.django_celery_outbox()
            found[f"Django, {RIVAL}"] = in_django(
                lambda order: rival.send_task("shop.charge", (order,))
            )
        yield found
    recorded.fullresult.close()


def _charge(order: int) -> None:
    """Never run."""


# --- Writers


def writers(store: str, broker: str, scale: float) -> Iterator[str]:
    """Commits a second of 16 writers: an order; one with a task, beside a sweeper; and NOTIFY."""
    modes = ("no task", "poll", "notify")
    seconds = max(3 * scale, 0.5)
    rates: dict[str, list[float]] = {mode: [] for mode in modes}
    for _ in range(5):
        for mode in random.sample(modes, len(modes)):
            with _sweeping(store, broker, mode):
                rates[mode].append(_rate(store, mode, seconds))
    alone, poll, notify = (median(rates[mode]) for mode in modes)
    yield f"{alone:,.0f} with no task; {poll:,.0f} with a task; {notify:,.0f} with NOTIFY, too"
    yield f"with NOTIFY: {notify / poll:.2f} of those without it"


@contextmanager
def _sweeping(store: str, broker: str, mode: str) -> Iterator[None]:
    """A sweeper that hears of commits as *mode* says, or none."""
    if mode == "no task":
        yield
        return
    with (
        redis.Redis.from_url(broker) as client,
        process(_SWEEP, BENCHMARK_WAKE=mode, BENCHMARK_STORE=store),
    ):
        client.delete("benchmark")
        _fill(store, "fullresult", 1)
        _wait(lambda: client.llen("benchmark") > 0)
        yield


def _rate(store: str, mode: str, seconds: float) -> float:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(16)
    with context.Pool(16, _share, (barrier,)) as pool:
        counts = pool.starmap(_write, [(store, mode, seconds, n) for n in range(16)], chunksize=1)
    return sum(counts) / seconds


_barrier: Any = None


def _share(barrier: Any) -> None:
    global _barrier  # noqa: PLW0603  (a pool's processes have no other way)
    _barrier = barrier


def _write(store: str, mode: str, seconds: float, writer: int) -> int:
    from benchmarks import outbox_app

    app = None if mode == "no task" else outbox_app.ours(fullresult_outbox_wake=mode)
    count, first = 0, time.time_ns() // 1000 * 16 + writer
    with psycopg.connect(store) as own:
        _barrier.wait()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            own.execute("INSERT INTO orders VALUES (%s)", (first + count * 16 * 10**6,))
            if app is not None:
                with app.fullresult.outbox(own):
                    app.send_task("shop.charge", (count,))
            own.commit()
            count += 1
    return count


# --- Relaying


def relaying(store: str, broker: str, scale: float) -> Iterator[str]:
    """How many tasks a second one process sends that waited in the outbox."""
    tasks = max(int(3000 * scale), 100)
    kinds = {"fullresult": _SWEEP}
    if find_spec("django_celery_outbox"):
        kinds[RIVAL] = "django celery_outbox_relay"
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(3):
        for kind, command in kinds.items():
            _fill(store, kind, tasks)
            rates[kind].append(_drained(broker, kind, command, tasks))
    for kind, found in rates.items():
        yield f"{kind}: {_figures(found)} a second"
    if RIVAL in rates:
        yield f"{median(rates['fullresult']) / median(rates[RIVAL]):.1f} times {RIVAL}"


def _fill(store: str, kind: str, tasks: int) -> None:
    from django.db import transaction

    from benchmarks import outbox_app

    if kind == RIVAL:
        app = outbox_app.django_celery_outbox()
        with transaction.atomic():
            for number in range(tasks):
                app.send_task("shop.charge", (number,))
        return
    ours = outbox_app.ours()
    with psycopg.connect(store) as own, ours.fullresult.outbox(own):
        for number in range(tasks):
            ours.send_task("shop.charge", (number,))
    ours.fullresult.close()


def _drained(broker: str, kind: str, command: str, tasks: int) -> float:
    with redis.Redis.from_url(broker) as client:
        client.delete("benchmark")
        settings = {"DJANGO_SETTINGS_MODULE": "benchmarks.outbox_app", "BENCHMARK_KIND": kind}
        with process(command, **settings):
            _wait(lambda: client.llen("benchmark") > 0)
            begin, already = time.monotonic(), client.llen("benchmark")
            _wait(lambda: client.llen("benchmark") >= tasks)
            rate = (tasks - already) / (time.monotonic() - begin)
        client.delete("benchmark")
    return float(rate)


# --- Waking


def waking(store: str, broker: str, scale: float) -> Iterator[str]:
    """How long after its commit a task runs, in a worker that sweeps, on a quiet storage."""
    times = max(int(200 * scale), 20)
    with TemporaryDirectory() as directory:
        report = f"{directory}/report"
        with worker(broker, store, report, app="benchmarks.outbox_app"):
            ways = {"direct, after the commit": _direct, "outbox": _outbox}
            if store.startswith("postgresql"):
                ways["beside, half of them in transactions of 2 seconds"] = _beside
            for name, publish in ways.items():
                committed = publish(store, name.partition(",")[0], times)
                late = [(wait_for(report, word) - at) * 1e3 for word, at in committed.items()]
                cuts = quantiles(late, n=100)
                yield f"{name}: p50 {cuts[49]:.1f} ms, p99 {cuts[98]:.1f} ms"


def _direct(store: str, name: str, times: int) -> dict[str, float]:
    return _committed(store, name, times, _after)


def _outbox(store: str, name: str, times: int) -> dict[str, float]:
    return _committed(store, name, times, _within)


def _beside(store: str, name: str, times: int) -> dict[str, float]:
    """Half of the transactions are open for 2 seconds; a tenth of these is rolled back then."""
    ends: list[tuple[float, str, psycopg.Connection[Any]]] = []
    found = {}

    def end(now: float) -> None:
        while ends and ends[0][0] < now:
            _, word, connection = ends.pop(0)
            if word.endswith("0"):
                connection.rollback()
            else:
                connection.commit()
                found[word] = time.time()
            connection.close()

    def within(app: Celery, own: Caller, word: str) -> float:
        end(time.monotonic())
        other = psycopg.connect(store)
        with app.fullresult.outbox(other):
            app.send_task("tell", (f"late-{word}",))
        ends.append((time.monotonic() + 2, f"late-{word}", other))
        return _within(app, own, word)

    found.update(_committed(store, name, times, within))
    end(math.inf)
    return found


def _after(app: Celery, own: Caller, word: str) -> float:
    own.commit()
    at = time.time()
    app.send_task("tell", (word,))
    return at


def _within(app: Celery, own: Caller, word: str) -> float:
    with app.fullresult.outbox(own.connection):
        app.send_task("tell", (word,))
    own.commit()
    return time.time()


def _committed(
    store: str, name: str, times: int, publish: Callable[[Celery, Caller, str], float]
) -> dict[str, float]:
    """When each word was committed."""
    from benchmarks import outbox_app

    app, found, dice = outbox_app.ours(), {}, random.Random(7)
    connect = KINDS[_KIND_OF[store.partition(":")[0]]][1]
    with connect(store) as own:
        for number in range(times):
            time.sleep(dice.uniform(0, 0.2))
            word = f"{name}-{number}"
            own.begin()
            own.insert(time.time_ns())
            found[word] = publish(app, own, word)
    app.fullresult.close()
    return found


# --- All together


def _set_up_django() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.outbox_app"
    if not find_spec("django_celery_outbox"):
        print(f"{RIVAL} is not installed, and takes no part")
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def _wait(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.002)


def _figures(values: Any) -> str:
    low, middle, high = quantiles(values, n=4)
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"


PARTS = {
    "publishing": publishing,
    "writers": writers,
    "relaying": relaying,
    "waking": waking,
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--storage", choices=_KIND_OF, default="postgresql")
    parser.add_argument("--scale", type=float, default=1.0, help="0.1 is a smoke run")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
