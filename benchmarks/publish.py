"""The publisher under measurement: fills the queue and marks its own start and end."""

import os
import sys

from benchmarks.apps import mark, pay
from benchmarks.marks import add_mark


def main(tasks: int, warm_up: int) -> None:
    """Queue *warm_up* tasks, a mark, *tasks* tasks and a mark; only the *tasks* are measured."""
    _publish(warm_up)
    mark.apply_async()
    add_mark("publisher", os.getpid())
    _publish(tasks)
    add_mark("publisher", os.getpid())
    mark.apply_async()


def _publish(tasks: int) -> None:
    for order_id in range(tasks):
        pay.apply_async((order_id, "customer@example.org"), {"total": "12.50", "currency": "EUR"})


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
