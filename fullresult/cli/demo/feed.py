"""Prints each change of the records as it happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from fullresult.cli.terminal import dim, fit, in_colour, say, width
from fullresult.insight.words import call, ending, span

if TYPE_CHECKING:
    from fullresult.extension import FullResult
    from fullresult.record import TaskRecord

_LONGEST_CALL = 48
_LONGEST_ENDING = 58


class Feed:
    """Prints each change of a record that it sees."""

    def __init__(self, full: FullResult) -> None:
        self._full = full
        self._began = time.monotonic()
        self._seen: dict[str, tuple[str, int]] = {}

    def until(self, done: Callable[[dict[str, TaskRecord]], bool], seconds: float = 25) -> None:
        """Watch until *done* says True of the records. Raises `TimeoutError`."""
        deadline = time.monotonic() + seconds
        while True:
            records = self._full.find(order="oldest", limit=None)
            for record in records:
                self._tell(record)
            if done({record.task_id: record for record in records}):
                return
            if time.monotonic() > deadline:
                states = ", ".join(f"{call(record)} {record.state}" for record in records)
                raise TimeoutError(f"nothing more happened within {seconds:.0f} s: {states}")
            time.sleep(0.1)

    def _tell(self, record: TaskRecord) -> None:
        now = (record.state, record.retries)
        if self._seen.get(record.task_id) == now:
            return
        self._seen[record.task_id] = now
        shown = fit(call(record), _LONGEST_CALL)
        room = " " * (_LONGEST_CALL - width(shown))
        since = f"{time.monotonic() - self._began:6.1f} s"
        state = in_colour(record.state, f"{record.state:<14}")
        end = fit(_ending(record), _LONGEST_ENDING)
        tail = f"{room}  {dim(end)}" if end else ""
        say(f"{dim(since)}  {state} {shown}{tail}")


def _ending(record: TaskRecord) -> str:
    parts = []
    if record.retries:
        parts.append(f"attempt {record.retries + 1}")
    if record.runtime and record.runtime > 1:
        parts.append(f"after {span(record.runtime)}")
    return " ".join((*parts, ending(record)))
