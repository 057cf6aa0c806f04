"""Prints each change of the records as it happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from fullresult.cli.table import columns_of_terminal
from fullresult.cli.terminal import dim, fit, in_colour, say, width
from fullresult.insight.words import call, ending, span

if TYPE_CHECKING:
    from fullresult.extension import FullResult
    from fullresult.record import TaskRecord

_LONGEST_CALL = 48
_BEFORE = 26
"""Columns before the call."""
_LEGIBLE = 40
"""Columns below which the end has a line of its own."""


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
        columns = columns_of_terminal()
        longest = min(_LONGEST_CALL, columns - _BEFORE)
        shown = fit(call(record), longest)
        since = f"{time.monotonic() - self._began:6.1f} s"
        state = in_colour(record.state, f"{record.state:<14}")
        say(f"{dim(since)}  {state} {shown}{self._tail(record, longest - width(shown))}")

    def _tail(self, record: TaskRecord, gap: int) -> str:
        """How it ended: behind the call, or where that is too narrow on the next line."""
        if not (end := _ending(record)):
            return ""
        room = columns_of_terminal() - _BEFORE - _LONGEST_CALL - 2
        if room >= _LEGIBLE:
            return f"{' ' * (gap + 2)}{dim(fit(end, room))}"
        return f"\n{' ' * _BEFORE}{dim(fit(end, columns_of_terminal() - _BEFORE))}"


def _ending(record: TaskRecord) -> str:
    parts = []
    if record.retries:
        parts.append(f"attempt {record.retries + 1}")
    if record.runtime and record.runtime > 1:
        parts.append(f"after {span(record.runtime)}")
    return " ".join((*parts, ending(record))).rstrip()
