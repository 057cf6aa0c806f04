"""Statistics made of samples: counts and percentiles by task and time."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from fullresult.insight.statistics import Counts, Percentiles, Statistics, TaskStatistics
from fullresult.record import FAILURE, FINISHED, SUCCESS, UNSENT
from fullresult.record.dates import cut
from fullresult.record.sample import Sample

MOST = 5_000
"""Records that are looked at for one question."""
MOST_NAMES = 50
"""The most frequent names have statistics of their own; the tasks of all others are taken
together."""
MOST_BUCKETS = 500


def edges(since: datetime, until: datetime, buckets: int) -> list[datetime]:
    """The beginning of each bucket and the end of the last, to the millisecond.

    Raises `ValueError` for a span that cannot be cut into *buckets*.
    """
    if since.tzinfo is None or until.tzinfo is None:
        raise ValueError(f"since and until must be aware datetimes, not {since!r} and {until!r}")
    if not 1 <= buckets <= MOST_BUCKETS:
        raise ValueError(f"buckets must be 1 to {MOST_BUCKETS}, not {buckets!r}")
    width = (until - since) / buckets
    if width < timedelta(milliseconds=1):
        raise ValueError(f"{since} to {until} cannot be cut into {buckets} buckets")
    inner = [since + width * number for number in range(buckets)]
    return [cut(edge) for edge in (*inner, until)]


def statistics(
    edges: Sequence[datetime], samples: Sequence[Sequence[Sample]], most: int
) -> Statistics:
    """Statistics from *samples*: for each bucket its newest tasks, *most* at most."""
    spans = [_Span(a, b) for a, b in pairwise(edges)]
    shares = [_share(span, found, most) for span, found in zip(spans, samples, strict=True)]
    tallies: dict[str | None, list[_Tally]] = {}
    names = _frequent(samples)
    for number, found in enumerate(samples):
        for sample in found:
            name = sample.name if sample.name in names else None
            if name not in tallies:
                tallies[name] = [_Tally() for _ in spans]
            tallies[name][number].add(sample)
    whole = _Span(edges[0], edges[-1])
    share = _mean(spans, shares)

    def total(of: Iterable[_Tally]) -> Counts:
        return _sum(of).counts(whole, share)

    by_name = [
        TaskStatistics(
            name,
            total(each),
            tuple(t.counts(span, s) for t, span, s in zip(each, spans, shares, strict=True)),
        )
        for name, each in tallies.items()
    ]
    by_name.sort(key=lambda each: (each.name is None, -each.total.tasks, each.name or ""))
    columns = [_sum(column) for column in zip(*tallies.values(), strict=True)] or [
        _Tally() for _ in spans
    ]
    return Statistics(
        total(columns),
        tuple(t.counts(span, s) for t, span, s in zip(columns, spans, shares, strict=True)),
        tuple(by_name),
    )


class _Span(NamedTuple):
    since: datetime
    until: datetime


def _share(span: _Span, found: Sequence[Sample], most: int) -> float:
    """The share of *span* that its sample covers: 1, unless it holds *most* tasks."""
    if len(found) < most:
        return 1.0
    oldest = found[-1].date_created
    width = (span.until - span.since).total_seconds()
    # Dates are to the millisecond: no length is below one.
    return min(max((span.until - oldest).total_seconds(), 0.001) / width, 1.0)


def _mean(spans: Sequence[_Span], shares: Sequence[float]) -> float:
    widths = [(span.until - span.since).total_seconds() for span in spans]
    covered = sum(width * share for width, share in zip(widths, shares, strict=True))
    return 1.0 if all(share == 1 for share in shares) else covered / sum(widths)


def _frequent(samples: Sequence[Sequence[Sample]]) -> set[str]:
    """The names that have statistics of their own."""
    numbers: dict[str, int] = defaultdict(int)
    for found in samples:
        for sample in found:
            if sample.name is not None:
                numbers[sample.name] += 1
    by_number = sorted(numbers, key=lambda name: (-numbers[name], name))
    return set(by_number[:MOST_NAMES])


@dataclass
class _Tally:
    """Sums over some tasks."""

    tasks: int = 0
    published: int = 0
    started: int = 0
    succeeded: int = 0
    failed: int = 0
    dropped: int = 0
    retried: int = 0
    waits: list[float] = field(default_factory=list)
    runs: list[float] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        state = sample.state
        self.tasks += 1
        if sample.date_published is not None and state != UNSENT:
            self.published += 1
        if state == SUCCESS:
            self.succeeded += 1
        elif state == FAILURE:
            self.failed += 1
        elif state in _DROPPED:
            self.dropped += 1
        if sample.retries:
            self.retried += 1
        if (wait := sample.wait) is not None:
            self.started += 1
            self.waits.append(wait)
        if (run := sample.run) is not None:
            self.runs.append(run)

    def counts(self, span: _Span, share: float) -> Counts:
        return Counts(
            span.since,
            span.until,
            self.tasks,
            self.published,
            self.started,
            self.succeeded,
            self.failed,
            self.dropped,
            self.retried,
            percentiles(self.waits),
            percentiles(self.runs),
            share,
        )


_DROPPED = FINISHED - {SUCCESS, FAILURE}
_NUMBERS = ("tasks", "published", "started", "succeeded", "failed", "dropped", "retried")


def _sum(tallies: Iterable[_Tally]) -> _Tally:
    whole = _Tally()
    for tally in tallies:
        whole.waits += tally.waits
        whole.runs += tally.runs
        for name in _NUMBERS:
            setattr(whole, name, getattr(whole, name) + getattr(tally, name))
    return whole


def percentiles(seconds: Sequence[float]) -> Percentiles | None:
    """By nearest rank: each percentile is a length that was measured."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    p50, p95, p99 = (ordered[math.ceil(len(ordered) * part / 100) - 1] for part in (50, 95, 99))
    return Percentiles(p50, p95, p99, len(ordered))
