"""Charts as coordinates, which a template draws as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from fullresult.insight.statistics import Counts, Percentiles
from fullresult.insight.words import span

WIDE, NARROW, HEIGHT = 1120, 560, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 8, 8, 22
_TICKS = 6
_DAY = timedelta(days=1)


class Bar(NamedTuple):
    """A rectangle of a stacked column."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    title: str


class Tick(NamedTuple):
    """A line of the grid with its label."""

    at: float
    text: str


class Chart(NamedTuple):
    """Bars, lines and the grid."""

    bars: list[Bar]
    lines: list[tuple[str, str]]
    """(kind, points of a polyline); one line may be in several pieces."""
    rows: list[Tick]
    columns: list[Tick]
    width: int
    height: int = HEIGHT
    left: int = _LEFT
    bottom: int = HEIGHT - _BOTTOM


def throughput(buckets: Sequence[Counts]) -> Chart:
    """Tasks a minute by the time of creation, and the share of them that failed."""
    rates = [each.per_second * 60 for each in buckets]
    top = _round(max(rates, default=0.0))
    bars: list[Bar] = []
    for number, (each, rate) in enumerate(zip(buckets, rates, strict=True)):
        failed = rate * each.failed / each.tasks if each.tasks else 0.0
        title = f"{_time(each.since, buckets)}: {_number(rate)} a minute, {_number(failed)} failed"
        bars += _column(number, len(buckets), top, failed, rate, title)
    return Chart(bars, [], _rows(top, _number), _columns(buckets, WIDE), WIDE)


def percentiles(buckets: Sequence[Counts], of: str) -> Chart:
    """Seconds that 50, 95 and 99 of 100 tasks took at most; *of* is `wait` or `run`."""
    found: list[Percentiles | None] = [getattr(each, of) for each in buckets]
    top = _round(max((each.p99 for each in found if each), default=0.0))
    lines = [
        (kind, piece)
        for kind, name in (("c", "p99"), ("b", "p95"), ("a", "p50"))
        for piece in _pieces([getattr(p, name) if p else None for p in found], top)
    ]
    return Chart([], lines, _rows(top, span), _columns(buckets, NARROW), NARROW)


def _column(
    number: int, size: int, top: float, failed: float, rate: float, title: str
) -> Iterator[Bar]:
    slot = _slot(WIDE, size)
    x, width = _LEFT + slot * number + slot * 0.1, slot * 0.8
    low, high = _y(failed, top), _y(rate, top)
    yield Bar("a", round(x, 1), high, round(width, 1), round(low - high, 1), title)
    if failed:
        floor = HEIGHT - _BOTTOM
        yield Bar("b", round(x, 1), low, round(width, 1), round(floor - low, 1), title)


def _pieces(values: Sequence[float | None], top: float) -> Iterator[str]:
    """The points of a line, in pieces: it is broken at each None."""
    slot = _slot(NARROW, len(values))
    piece: list[str] = []
    for number, value in enumerate([*values, None]):
        if value is not None:
            x, y = _LEFT + slot * (number + 0.5), _y(value, top)
            piece.append(f"{x:.1f},{y}")
        elif piece:
            # A single point would be invisible.
            yield " ".join(piece if len(piece) > 1 else [*piece, _right_of(piece[0])])
            piece = []


def _right_of(point: str) -> str:
    x, y = point.split(",")
    return f"{float(x) + 3:.1f},{y}"


def _slot(width: int, size: int) -> float:
    """The width that each bucket gets."""
    return (width - _LEFT - _RIGHT) / max(size, 1)


def _y(value: float, top: float) -> float:
    room = HEIGHT - _TOP - _BOTTOM
    return round(HEIGHT - _BOTTOM - room * (value / top if top else 0), 1)


def _round(value: float) -> float:
    """The end of an axis: the next of 1, 2, 5, 10, 20, … from *value* on."""
    if value <= 0 or not math.isfinite(value):
        return 1.0
    unit = 10.0 ** math.floor(math.log10(value))
    return next(step * unit for step in (1, 2, 5, 10) if step * unit >= value * 0.999)


def _rows(top: float, show: object) -> list[Tick]:
    assert callable(show)
    return [Tick(_y(top * part, top), str(show(top * part))) for part in (0.0, 0.5, 1.0)]


def _columns(buckets: Sequence[Counts], width: int) -> list[Tick]:
    slot = _slot(width, len(buckets))
    step = max(len(buckets) // _TICKS, 1)
    return [
        Tick(round(_LEFT + slot * number, 1), _time(each.since, buckets))
        for number, each in enumerate(buckets)
        if number % step == 0 and number <= len(buckets) - step / 2
    ]


def _time(at: datetime, buckets: Sequence[Counts]) -> str:
    long = buckets[-1].until - buckets[0].since > _DAY
    return f"{at:%m-%d %H:%M}" if long else f"{at:%H:%M}"


def _number(value: float) -> str:
    if value == 0 or value >= 100:  # noqa: PLR2004
        return f"{value:,.0f}"
    return f"{value:.3g}"
