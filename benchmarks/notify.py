"""What a NOTIFY for each result costs PostgreSQL: commits a second with and without."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from uuid import uuid4

import psycopg

# Run as a script, from anywhere.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.places import Places

_ROUNDS = 5
_PLAIN = "INSERT INTO result VALUES (%s)"
_TOLD = "WITH told AS (SELECT pg_notify('result', %s)) INSERT INTO result SELECT %s FROM told"


def main() -> int:
    options = _options()
    with ExitStack() as stack:
        url = stack.enter_context(Places(stack).storage("postgresql"))
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE result (task_id text PRIMARY KEY)")
        for workers in (1, 4, 16):
            rates: dict[bool, list[float]] = {False: [], True: []}
            for number in range(_ROUNDS):
                for told in (False, True) if number % 2 else (True, False):
                    rates[told].append(_rate(url, workers, options.seconds, told=told))
            plain, notified = median(rates[False]), median(rates[True])
            print(
                f"{workers} connections: {plain:,.0f} commits a second, "
                f"{notified:,.0f} with NOTIFY: {notified / plain:.2f}",
                flush=True,
            )
    return 0


def _rate(url: str, workers: int, seconds: float, *, told: bool) -> float:
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        done = pool.starmap(_commit, [(url, seconds, told)] * workers)
    return sum(done)


def _commit(url: str, seconds: float, told: bool) -> float:
    """Commits a second of one connection."""
    with psycopg.connect(url, autocommit=True) as connection:
        count, start = 0, time.perf_counter()
        while (took := time.perf_counter() - start) < seconds:
            task_id = str(uuid4())
            values = (task_id, task_id) if told else (task_id,)
            connection.execute(_TOLD if told else _PLAIN, values, prepare=True)
            count += 1
        return count / took


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
