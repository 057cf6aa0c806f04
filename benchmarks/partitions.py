"""What writers notice of partitions that are made, filled and dropped, and of rows deleted."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path
from statistics import median

# Run as a script, from anywhere.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg

from benchmarks.places import Places
from benchmarks.purging import Writers, fill
from fullresult.config import Settings
from fullresult.plugins import open_storage
from fullresult.storage import PartitionedStorage, Storage
from fullresult.storage.purging import BATCH

_MOVED = 1_000
"""Records of a batch, as a purge moves them."""
_START = 8.0
"""Seconds in which the writers begin."""
_COUNT = "SELECT count(*) FROM fullresult_task WHERE expires_on < 'infinity'"
_LATER = timedelta(days=32)
"""After which all that was moved has expired."""


def main() -> int:
    """Measure and print."""
    options = _options()
    for way, expired in (("partitions", 0), ("rows", options.rows)):
        with ExitStack() as stack:
            url = stack.enter_context(Places(stack).storage("postgresql"))
            partition = timedelta(days=1) if way == "partitions" else None
            storage = open_storage(Settings(storage=url, partition=partition))
            stack.callback(storage.close)
            open_storage(Settings(storage=url)).setup()
            print(f"filling {options.rows:,} records ...", file=sys.stderr)
            fill(url, options.rows, expired=expired)
            print(f"PostgreSQL, {options.rows:,} records, {options.writers} writers: {way}")
            _measure(url, storage, options, way)
    return 0


def _measure(url: str, storage: Storage, options: argparse.Namespace, way: str) -> None:
    spans: list[tuple[str, float, float]] = []
    with closing(Writers(url, options.writers)) as writers:
        time.sleep(_START)
        phases: list[tuple[str, Callable[[], object]]] = [
            ("alone", lambda: time.sleep(options.window))
        ]
        phases += _partitions(url, storage) if way == "partitions" else _rows(storage)
        for name, do in phases:
            time.sleep(1)
            began = time.time()
            done = do()
            spans.append((f"{name}{'' if done is None else f' {done:,}'}", began, time.time()))
        told = writers.stop()
    for name, began, ended in spans:
        # Each that was under way at any moment of it.
        took = sorted(seconds for at, seconds in told if at < ended and at + seconds > began)
        number = len(took) / (ended - began)
        print(
            f"  {name}: {ended - began:.3f} s; writes meanwhile: {number:,.0f} a second, median "
            f"{median(took) * 1000:.2f} ms, worst {took[-1] * 1000:.0f} ms",
            flush=True,
        )


def _partitions(url: str, storage: Storage) -> list[tuple[str, Callable[[], object]]]:
    assert isinstance(storage, PartitionedStorage)
    now = storage.now()

    def move() -> int:
        while storage.move_ended(now, _MOVED):
            pass
        with psycopg.connect(url) as session:
            found = session.execute(
                "SELECT count(*) FROM fullresult_task WHERE expires_on < 'infinity'"
            )
            return int(found.fetchall()[0][0])

    return [
        ("the tables are partitioned", storage.setup),
        ("records are moved", move),
        ("a partition is dropped, of", lambda: storage.drop_partitions(now + _LATER)),
    ]


def _rows(storage: Storage) -> list[tuple[str, Callable[[], object]]]:
    now = storage.now()

    def delete() -> int:
        total = deleted = storage.delete_expired(now, BATCH)
        while deleted == BATCH:
            deleted = storage.delete_expired(now, BATCH)
            total += deleted
        return total

    return [("rows are deleted without rests:", delete)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--writers", type=int, default=2)
    parser.add_argument("--window", type=float, default=10.0, metavar="SECONDS")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
