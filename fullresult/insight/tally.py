"""Statistics by task and time: counts from a census, percentiles from samples."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from fullresult.insight.statistics import Counts, Percentiles, Statistics, TaskStatistics
from fullresult.record import FAILURE, FINISHED, NOT_RUN, SUCCESS, UNSENT
from fullresult.record.dates import cut
from fullresult.record.sample import Sample
from fullresult.storage import Alike

MOST = 5_000
"""Records that are looked at for the percentiles."""
FEWEST = 20
"""A bucket gets a sample of at least this size; of fewer, percentiles say nothing."""
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


def shares(census: Sequence[Sequence[Alike] | None], most: int = MOST) -> list[int]:
    """The number of tasks of each bucket to look at, so that about *most* are looked at in all.

    A bucket that was counted gets its part of the tasks; one that was not gets an equal part.
    """
    equal = max(most // max(len(census), 1), FEWEST)
    sizes = [None if c is None else sum(alike.number for alike in c) for c in census]
    counted = sum(size for size in sizes if size is not None)
    room = max(most - equal * sizes.count(None), 0)
    if counted <= room:
        return [equal if size is None else size for size in sizes]
    return [
        equal if size is None else min(max(room * size // counted, FEWEST), size) for size in sizes
    ]


def statistics(
    edges: Sequence[datetime],
    samples: Sequence[Sequence[Sample]],
    most: Sequence[int],
    census: Sequence[Sequence[Alike] | None],
) -> Statistics:
    """Statistics from a *census*, and from *samples*: each bucket's newest tasks, *most* at most.

    A bucket that was not counted has the numbers of its sample.
    """
    spans = [_Span(a, b) for a, b in pairwise(edges)]
    tallies: dict[str | None, list[_Tally]] = {}
    each_bucket = [_bucket(found, counted) for found, counted in zip(samples, census, strict=True)]
    names = _frequent(each_bucket)
    for number, by_name in enumerate(each_bucket):
        for known, tally in by_name.items():
            name = known if known in names else None
            if name not in tallies:
                tallies[name] = [_Tally() for _ in spans]
            tallies[name][number].join(tally)
    exact = [
        counted is not None or len(found) < bound
        for counted, found, bound in zip(census, samples, most, strict=True)
    ]
    whole = _Span(edges[0], edges[-1])

    def of(tallies: Sequence[_Tally]) -> tuple[Counts, tuple[Counts, ...]]:
        """Those of the whole time, and of each bucket."""
        each = (t.counts(span, e) for t, span, e in zip(tallies, spans, exact, strict=True))
        return _sum(tallies).counts(whole, all(exact)), tuple(each)

    tasks = [TaskStatistics(name, *of(each)) for name, each in tallies.items()]
    tasks.sort(key=lambda each: (each.name is None, -each.total.tasks, each.name or ""))
    columns = [_sum(column) for column in zip(*tallies.values(), strict=True)]
    return Statistics(*of(columns or [_Tally() for _ in spans]), tuple(tasks))


class _Span(NamedTuple):
    since: datetime
    until: datetime


def _bucket(found: Sequence[Sample], counted: Sequence[Alike] | None) -> dict[str | None, _Tally]:
    """The tallies of a bucket by name."""
    tallies: dict[str | None, _Tally] = defaultdict(_Tally)
    for sample in found:
        tallies[sample.name].look_at(sample)
    alike = [*map(_alike, found)] if counted is None else counted
    for each in alike:
        tallies[each.name].count(each)
    return tallies


def _alike(sample: Sample) -> Alike:
    return Alike(
        name=sample.name,
        state=sample.state,
        published=sample.date_published is not None,
        started=sample.first_started is not None,
        retried=bool(sample.retries),
        number=1,
    )


def _frequent(buckets: Iterable[Mapping[str | None, _Tally]]) -> set[str]:
    """The names that have statistics of their own."""
    numbers: dict[str, int] = defaultdict(int)
    for by_name in buckets:
        for name, tally in by_name.items():
            if name is not None:
                numbers[name] += tally.tasks
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
    looked_at: int = 0
    waits: list[float] = field(default_factory=list)
    runs: list[float] = field(default_factory=list)

    def count(self, alike: Alike) -> None:
        number = alike.number
        self.tasks += number
        if alike.published and alike.state != UNSENT:
            self.published += number
        if alike.state == SUCCESS:
            self.succeeded += number
        elif alike.state == FAILURE:
            self.failed += number
        elif alike.state in _DROPPED:
            self.dropped += number
        if alike.retried:
            self.retried += number
        if alike.started:
            self.started += number

    def look_at(self, sample: Sample) -> None:
        self.looked_at += 1
        if (wait := sample.wait) is not None:
            self.waits.append(wait)
        if (run := sample.run) is not None:
            self.runs.append(run)

    def join(self, other: _Tally) -> None:
        self.waits += other.waits
        self.runs += other.runs
        for name in (*_NUMBERS, "looked_at"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def counts(self, span: _Span, exact: bool) -> Counts:
        return Counts(
            *span,
            self.tasks,
            self.published,
            self.started,
            self.succeeded,
            self.failed,
            self.dropped,
            self.retried,
            percentiles(self.waits),
            percentiles(self.runs),
            self.looked_at,
            exact,
        )


_DROPPED = FINISHED - {SUCCESS, FAILURE, NOT_RUN}
_NUMBERS = ("tasks", "published", "started", "succeeded", "failed", "dropped", "retried")


def _sum(tallies: Iterable[_Tally]) -> _Tally:
    whole = _Tally()
    for tally in tallies:
        whole.join(tally)
    return whole


def percentiles(seconds: Sequence[float]) -> Percentiles | None:
    """By nearest rank: each percentile is a length that was measured."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    p50, p95, p99 = (ordered[math.ceil(len(ordered) * part / 100) - 1] for part in (50, 95, 99))
    return Percentiles(p50, p95, p99, len(ordered))
