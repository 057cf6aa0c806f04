"""What the rounds say: costs per task, promises kept or broken, distance from the bare drivers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TypeAlias

from benchmarks.benches import Run
from benchmarks.contenders import (
    BARE_MONGODB,
    BARE_POSTGRESQL,
    BARE_SQLITE,
    BARE_SQLITE_NORMAL,
    DATABASE_POSTGRESQL,
    DATABASE_SQLITE,
    DJANGO_PUBLISH,
    LIMITS,
    MONGODB,
    NONE,
    OURS_MONGODB,
    OURS_POSTGRESQL,
    OURS_POSTGRESQL_SPOOLED,
    OURS_SQLITE,
    OURS_SQLITE_SPOOLED,
    REDIS,
)

Round: TypeAlias = Mapping[str, Run]
Table: TypeAlias = tuple[Sequence[str], Sequence[Sequence[str]]]
"""A header, and rows of the same length."""

_MEASURES: dict[str, Callable[[Run], float]] = {
    "publisher wall": lambda run: run.publisher.wall,
    "publisher CPU": lambda run: run.publisher.cpu,
    "worker wall": lambda run: run.worker.wall,
    "worker CPU": lambda run: run.worker.cpu,
    "servers' CPU": lambda run: run.publisher.server_cpu + run.worker.server_cpu,
    "all CPU": lambda run: (
        run.publisher.cpu + run.worker.cpu + run.publisher.server_cpu + run.worker.server_cpu
    ),
}


@dataclass(frozen=True)
class Promise:
    """Ours adds at most *limit* times what *theirs* adds."""

    measure: str
    ours: str
    theirs: str
    limit: float

    def verdict(self, shares: Sequence[float]) -> str:
        if not shares:
            return "not measured"
        return "kept" if median(shares) <= self.limit else "BROKEN"


PROMISES = (
    Promise("worker CPU", OURS_POSTGRESQL.name, DATABASE_POSTGRESQL.name, 0.12),
    Promise("worker wall", OURS_POSTGRESQL.name, DATABASE_POSTGRESQL.name, 0.2),
    Promise("publisher CPU", OURS_POSTGRESQL.name, DJANGO_PUBLISH.name, 0.5),
    Promise("publisher wall", OURS_POSTGRESQL.name, DJANGO_PUBLISH.name, 0.5),
    Promise("worker CPU", OURS_SQLITE.name, DATABASE_SQLITE.name, 0.2),
    Promise("worker wall", OURS_SQLITE.name, DATABASE_SQLITE.name, 0.2),
    Promise("worker CPU", OURS_MONGODB.name, MONGODB.name, 0.8),
    Promise("worker wall", OURS_MONGODB.name, MONGODB.name, 1.0),
)
_DISTANCES = (
    (OURS_POSTGRESQL.name, BARE_POSTGRESQL.name),
    (OURS_SQLITE.name, BARE_SQLITE.name),
    (OURS_SQLITE.name, BARE_SQLITE_NORMAL.name),
    (OURS_MONGODB.name, BARE_MONGODB.name),
)
_BESIDE_REDIS = tuple(
    (ours.name, REDIS.name)
    for ours in (
        *(OURS_POSTGRESQL, OURS_POSTGRESQL_SPOOLED),
        *(OURS_SQLITE, OURS_SQLITE_SPOOLED, OURS_MONGODB),
    )
)


def report(rounds: Sequence[Round]) -> str:
    """All tables, as text."""
    found = tables(rounds)
    return "\n\n".join(f"{title}\n{_text(*table)}" for title, table in found.items())


def tables(rounds: Sequence[Round]) -> dict[str, Table]:
    """By title; every figure is a median over the rounds, with the quartiles."""
    added = [_added(round_) for round_ in rounds]
    return {
        "Milliseconds per task without recording": _costs(rounds, [NONE.name]),
        "Milliseconds added per task; the bare drivers' own": _costs(added, added[0]),
        "Promises: ours, as a share of what theirs adds": _promises(added),
        "What ours adds, in multiples of the bare driver": _distances(
            added,
            _DISTANCES,
            # SQLite has no server, and what the broker does meanwhile is no base for a ratio.
            ("publisher wall", "publisher CPU", "worker wall", "worker CPU"),
        ),
        "What ours adds, in multiples of Celery's Redis backend": _distances(
            added,
            _BESIDE_REDIS,
            # That backend adds nothing to a publish.
            ("worker wall", "worker CPU", "all CPU"),
        ),
    }


def _added(round_: Round) -> Round:
    none = round_[NONE.name]
    return {
        name: run if name in LIMITS else run - none
        for name, run in round_.items()
        if name != NONE.name
    }


def _costs(rounds: Sequence[Round], names: Iterable[str]) -> Table:
    rows = [
        [name, *(_spread([value(r[name]) for r in rounds]) for value in _MEASURES.values())]
        for name in names
    ]
    return ["", *_MEASURES], rows


def _promises(added: Sequence[Round]) -> Table:
    rows = []
    for promise in _of_those(added, PROMISES):
        shares = _ratios(added, promise.measure, promise.ours, promise.theirs)
        sides = [promise.measure, promise.ours, promise.theirs]
        rows.append([*sides, _spread(shares), str(promise.limit), promise.verdict(shares)])
    return ["", "ours", "theirs", "share", "at most", "verdict"], rows


def _distances(
    added: Sequence[Round], pairs: Sequence[tuple[str, str]], measures: Sequence[str]
) -> Table:
    rows = [
        [f"{ours} / {theirs}", *(_spread(_ratios(added, name, ours, theirs)) for name in measures)]
        for ours, theirs in pairs
        if {ours, theirs} <= {*added[0]}
    ]
    return ["", *measures], rows


def _of_those(added: Sequence[Round], promises: Iterable[Promise]) -> list[Promise]:
    """Those of which one side, at least, took part."""
    return [promise for promise in promises if {promise.ours, promise.theirs} & {*added[0]}]


def _ratios(added: Sequence[Round], measure: str, ours: str, theirs: str) -> list[float]:
    value = _MEASURES[measure]
    pairs = [(value(r[ours]), value(r[theirs])) for r in added if ours in r and theirs in r]
    return [our / their for our, their in pairs if their]


def _spread(values: list[float]) -> str:
    if not values:
        return "-"
    lower, _, upper = quantiles(values, n=4, method="inclusive") if values[1:] else values * 3
    return f"{median(values):.2f} ({lower:.2f}..{upper:.2f})"


def _text(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
