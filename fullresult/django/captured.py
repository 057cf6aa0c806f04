"""`captured_tasks()`: what a test publishes, to look at and to run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fullresult.django.captured_calls import CapturedTasks, capturing


@contextmanager
def captured_tasks() -> Iterator[CapturedTasks]:
    """Inside, nothing that this thread publishes is sent; the answer lists it."""
    tasks = CapturedTasks()
    token = capturing.set(tasks)
    try:
        yield tasks
    finally:
        capturing.reset(token)
