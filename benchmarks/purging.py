"""What writers notice of a purge: half of a full table is deleted beside them."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import threading
import time
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

# Run as a script, from anywhere.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg

from benchmarks.places import Places
from fullresult.storage.purging import BATCH, purge
from fullresult.testing import open_storage, samples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.synchronize import Event

    from fullresult.storage import Storage

PROMISED = 0.1
"""What writers may lose of their throughput."""
_BORDER = 0.5
"""Seconds of a window that are left out, at either end of it."""
_CHUNK = 1_000_000

# Finished records as a task with small arguments leaves them. The first so many have expired.
_FILL = """
INSERT INTO fullresult_task (
    task_id, date_created, date_updated, date_published,
    outcome_stamp, state, open, retries, worker, date_started, date_done, stale_from, runtime,
    result, result_form, expire_at,
    message_stamp, name, args, kwargs, body, content_type, content_encoding, headers,
    properties, exchange, routing_key, queue, root_id
)
SELECT
    id, created, created, created, '00000000069' || lpad(to_hex(i), 22, '0'), 'SUCCESS', false, 0,
    'celery@host', created, created, created, 0.25, '{"charged": 7}', 'json',
    CASE WHEN i <= %(expired)s THEN created ELSE now() + interval '30 days' END,
    '00000000020' || lpad(to_hex(i), 22, '0'), 'shop.charge_' || i %% 50, '[]',
    jsonb_build_object('order_id', i),
    convert_to('[[], {"order_id": ' || i || '}, {}]', 'UTF8'), 'application/json', 'utf-8',
    '{"lang": "py", "task": "shop.charge", "id": "' || id || '"}', '{"delivery_mode": 2}',
    '', 'celery', 'celery', id
FROM (
    SELECT i, md5(i::text)::uuid::text AS id,
        now() - interval '20 days' + i * interval '20 days' / %(rows)s AS created
    FROM generate_series(%(first)s::bigint, %(last)s) AS i
) AS told
"""


@dataclass
class Seen:
    """What writers did in the windows of one kind."""

    writes: list[list[float]]
    """The seconds of each write, window by window."""
    seconds: float
    """That a window counts."""

    @property
    def throughput(self) -> list[float]:
        return [len(window) / self.seconds for window in self.writes]

    def __str__(self) -> str:
        late = sorted(second for window in self.writes for second in window)
        return (
            f"{median(self.throughput):7,.0f} writes a second; ms each: median "
            f"{_part(late, 0.5):.2f}, p99 {_part(late, 0.99):.1f}, worst {late[-1] * 1000:.0f}"
        )


def main() -> int:
    """Measure and print; 1 if writers lost more than is promised."""
    options = _options()
    with ExitStack() as stack:
        url = stack.enter_context(Places(stack).storage("postgresql"))
        storage = open_storage(url)
        stack.callback(storage.close)
        storage.setup()
        print(f"filling {options.rows:,} records ...", file=sys.stderr)
        fill(url, options.rows, expired=options.rows // 2)
        print(f"PostgreSQL, {options.rows:,} records, half of them expired", flush=True)
        kept, deleted = _measure(url, options)
        if options.seconds is not None:
            left = options.rows // 2 - deleted
            print(f"then {_hurry(storage, left - left // 20):,} without rests", flush=True)
            kept &= _measure(url, options)[0]
    return 0 if kept else 1


def _measure(url: str, options: argparse.Namespace) -> tuple[bool, int]:
    """Whether the promise is kept, and how many records were deleted."""
    with closing(Writers(url, options.writers)) as writers:
        alone, beside, purged = _in_turns(url, writers, options.window, options.seconds)
    lost = 1 - median(b / a for a, b in zip(alone.throughput, beside.throughput, strict=False))
    kept = lost <= PROMISED
    print(f"  {options.writers} writers alone: {alone}")
    print(f"  beside the purge: {beside}")
    print(f"  {purged}")
    print(
        f"  writers lost {lost:.1%}, at most {PROMISED:.0%}: {'kept' if kept else 'BROKEN'}",
        flush=True,
    )
    return kept, purged.deleted


def _hurry(storage: Storage, number: int) -> int:
    """Delete about so many expired records, beside nobody; returns how many."""
    now, total, deleted = storage.now(), 0, BATCH
    while total < number and deleted == BATCH:
        deleted = storage.delete_expired(now, BATCH)
        total += deleted
    return total


def fill(url: str, rows: int, *, expired: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        run = connection.cursor().execute
        run("SET synchronous_commit = off; SET maintenance_work_mem = '1GB'")
        definitions = run(
            "SELECT indexname, indexdef FROM pg_indexes "
            "WHERE tablename = 'fullresult_task' AND indexname NOT LIKE '%_pkey'"
        ).fetchall()
        for name, _ in definitions:
            run(f"DROP INDEX {name}")
        for first in range(1, rows + 1, _CHUNK):
            last = min(first + _CHUNK - 1, rows)
            run(_FILL, {"first": first, "last": last, "rows": rows, "expired": expired})
        for _, definition in definitions:
            run(definition)
        run("VACUUM (ANALYZE) fullresult_task")
        run("CHECKPOINT")


def _in_turns(
    url: str, writers: Writers, window: float, seconds: float | None
) -> tuple[Seen, Seen, _Purge]:
    """Windows without and with the purge, in turns until it is through, or it is time."""
    purging = _Purge(url)
    end = time.monotonic() + (float("inf") if seconds is None else seconds)
    spans: list[tuple[float, float, bool]] = []
    while not purging.ended.is_set() and time.monotonic() < end:
        for beside in (False, True):
            purging.may_go.set() if beside else purging.may_go.clear()
            began = time.time()
            time.sleep(window)
            if not (beside and purging.ended.is_set()):
                spans.append((began + _BORDER, began + window - _BORDER, beside))
    purging.stop()
    told = writers.stop()
    seen = {
        kind: Seen([_within(told, *span[:2]) for span in spans if span[2] == kind], window - 1)
        for kind in (False, True)
    }
    return seen[False], seen[True], purging


def _within(told: list[tuple[float, float]], first: float, last: float) -> list[float]:
    return [seconds for at, seconds in told if first <= at < last]


class _Enough(Exception):
    """It was measured long enough."""


class _Purge:
    """A purge in a thread, which goes on only while it may."""

    def __init__(self, url: str) -> None:
        self.may_go, self.ended = threading.Event(), threading.Event()
        self.deleted, self.took = 0, 0.0
        self._enough = False
        self.batches: list[float] = []
        """The seconds that each batch took, with its rest."""
        threading.Thread(target=self._run, args=(url,), daemon=True).start()

    def __str__(self) -> str:
        tenth = max(len(self.batches) // 10, 1)
        first, last = median(self.batches[:tenth]), median(self.batches[-tenth:])
        return (
            f"deleted {self.deleted:,} in {self.took:,.0f} s: {self.deleted / self.took:,.0f} a "
            f"second; a batch took {first * 1000:.0f} ms at first and {last * 1000:.0f} in the end"
        )

    def _run(self, url: str) -> None:
        storage = open_storage(url)
        self.may_go.wait()
        self._since = self._last = time.monotonic()
        with suppress(_Enough):
            purge(storage, self._advance)
        self.took += time.monotonic() - self._since
        self.ended.set()
        storage.close()

    def stop(self) -> None:
        self._enough = True
        self.may_go.set()
        self.ended.wait()

    def _advance(self, deleted: int) -> None:
        self.deleted += deleted
        now = time.monotonic()
        self.batches.append(now - self._last)
        self._last = now
        if self._enough:
            raise _Enough
        if not self.may_go.is_set():
            self.took += time.monotonic() - self._since
            self.may_go.wait()
            self._since = self._last = time.monotonic()


class Writers:
    """Processes that write one task after the other, until they are told to stop."""

    def __init__(self, url: str, number: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._stop: Event = context.Event()
        self._told = context.Queue()
        self._processes = [
            context.Process(target=_write, args=(url, n, self._stop, self._told), daemon=True)
            for n in range(number)
        ]

        for process in self._processes:
            process.start()

    def stop(self) -> list[tuple[float, float]]:
        """When each write began, and the seconds it took."""
        self._stop.set()
        return [each for _ in self._processes for each in self._told.get()]

    def close(self) -> None:
        self._stop.set()
        for process in self._processes:
            process.join(10)


def _write(url: str, number: int, stop: Event, told: multiprocessing.Queue[object]) -> None:
    """Publish, start and end of one task after the other, each a write of its own."""
    storage = open_storage(url)
    took: list[tuple[float, float]] = []
    for event in _events(f"writer {number}"):
        if stop.is_set():
            break
        at, began = time.time(), time.perf_counter()
        storage.write([event])
        took.append((at, time.perf_counter() - began))
    storage.close()
    told.put(took)


def _events(name: str) -> Iterator[samples.TaskRecord]:
    number = 0
    while True:
        task_id = f"{name} {number}"
        yield samples.task(task_id, state="PENDING")
        yield samples.became(task_id, "STARTED")
        yield samples.became(task_id, "SUCCESS")
        number += 1


def _part(late: list[float], part: float) -> float:
    return late[int(len(late) * part)] * 1000


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="half expired (%(default)s)")
    parser.add_argument("--writers", type=int, default=2, help="processes (%(default)s)")
    parser.add_argument("--window", type=float, default=5.0, help="seconds (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, help="at the beginning and at the end; else all the time"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
