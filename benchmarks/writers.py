"""What many processes that write to one storage get done, and how long each write takes."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from contextlib import ExitStack
from multiprocessing.synchronize import Barrier
from pathlib import Path

# Run as a script, from anywhere.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.places import Places
from fullresult.testing import open_storage, samples

_WAIT = 60


def main() -> int:
    options = _options()
    with ExitStack() as stack:
        places = Places(stack)
        for writers in options.writers:
            with places.storage(options.storage) as url:
                told = _run(url, writers, options.seconds)
            late = sorted(second for seconds in told for second in seconds)
            fewest, most = min(map(len, told)), max(map(len, told))
            print(
                f"{options.storage}, {writers} writers: {len(late) / options.seconds:,.0f} writes "
                f"a second; ms each: median {_part(late, 0.5):.2f}, p99 {_part(late, 0.99):.1f}, "
                f"worst {late[-1] * 1000:.0f}; the slowest did {fewest / most:.2f} of the fastest",
                flush=True,
            )
    return 0


def _run(url: str, writers: int, seconds: float) -> list[list[float]]:
    """How long each write of each writer took."""
    storage = open_storage(url)
    storage.setup()
    storage.close()
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(writers) as pool:
        barrier = manager.Barrier(writers, timeout=_WAIT)
        given = [(barrier, url, f"writer {number}", seconds) for number in range(writers)]
        return pool.starmap(_write, given)


def _write(barrier: Barrier, url: str, name: str, seconds: float) -> list[float]:
    """Publish, start and end of one task after the other, each a write of its own."""
    storage = open_storage(url)
    took: list[float] = []
    barrier.wait()
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        task_id = f"{name} {len(took) // 3}"
        if len(took) % 3 == 0:
            event = samples.task(task_id, state="PENDING")
        else:
            event = samples.became(task_id, "STARTED" if len(took) % 3 == 1 else "SUCCESS")
        storage.write([event])
        took.append(time.perf_counter() - began)
    storage.close()
    return took


def _part(late: list[float], part: float) -> float:
    return late[int(len(late) * part)] * 1000


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storage", default="sqlite", choices=["sqlite", "postgresql", "mongodb"])
    parser.add_argument("--writers", type=_numbers, default=[1, 2, 4, 8], metavar="NUMBERS")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
