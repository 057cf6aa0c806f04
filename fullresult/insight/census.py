"""Exact counts of records by name and outcome, slice by slice of time, while there is time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from fullresult.record.dates import cut
from fullresult.storage import Alike, StatisticsStorage

SLICE = 20_000
"""Records that one read counts."""
_LITTLE, _SMALL_SLICE = 0.5, 4_000
"""Where there are fewer seconds than this, one read counts no more: it would use them up."""
_MILLISECOND = timedelta(milliseconds=1)


def census(
    storage: StatisticsStorage, edges: Sequence[datetime], seconds: float | None
) -> list[list[Alike] | None]:
    """The numbers of records of each span between two neighbours of *edges*, the newest span first.

    None for the spans that were not counted in about *seconds*. Raises `StorageError`.
    """
    end = None if seconds is None else time.monotonic() + seconds
    most = SLICE if seconds is None or seconds >= _LITTLE else min(SLICE, _SMALL_SLICE)
    found: list[list[Alike] | None] = [None] * (len(edges) - 1)
    width = edges[-1] - edges[0]
    for number in reversed(range(len(found))):
        top, counted = edges[number + 1], list[Alike]()
        while top > edges[number]:
            if end is not None and time.monotonic() > end:
                return found
            since = max(cut(top - width), edges[number])
            some = storage.count_alike(since, top, most)
            size = sum(alike.number for alike in some)
            if size >= most and top - since > _MILLISECOND:
                width = (top - since) / 2
                continue
            if size >= most:  # Dates are to the millisecond: this cannot be cut.
                some = storage.count_alike(since, top, 2**31 - 1)
            if size < most / 4:
                width = min(width * 2, edges[-1] - edges[0])
            counted += some
            top = since
        found[number] = counted
    return found
