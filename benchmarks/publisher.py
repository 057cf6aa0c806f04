"""The publisher under measurement.

For each number read, queues the lead-in, a mark, that number of tasks and a mark; answers with
its readings before and after the tasks. The lead-in is tasks that wake up publisher and worker.
"""

from __future__ import annotations

import os
import sys

from benchmarks.apps import mark, pay
from benchmarks.meter import Reading


def main(lead_in: int) -> None:
    for line in sys.stdin:
        _publish(lead_in)
        mark.apply_async()
        first = Reading.now(os.getpid())
        _publish(int(line))
        last = Reading.now(os.getpid())
        mark.apply_async()
        print(first.to_json(), last.to_json(), sep="\n", flush=True)


def _publish(tasks: int) -> None:
    for order_id in range(tasks):
        customer = f"customer{order_id}@example.org"
        pay.apply_async((order_id, customer), {"total": "12.50", "currency": "EUR"})


if __name__ == "__main__":
    main(int(sys.argv[1]))
