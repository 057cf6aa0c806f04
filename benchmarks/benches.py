"""Benches: a contender, or a bare driver, set up once and measured as often as asked."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Protocol

from benchmarks import processes
from benchmarks.meter import Cost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.contenders import Contender, Limit
    from benchmarks.stores import Stores

_LEAD_IN = 5
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Run:
    """What each task of a run cost the publisher and the worker."""

    publisher: Cost
    worker: Cost

    def __sub__(self, other: Run) -> Run:
        return Run(self.publisher - other.publisher, self.worker - other.worker)


class Bench(Protocol):
    def measure(self, tasks: int) -> Run:
        """Publish and then work off that many tasks."""
        ...


class CeleryBench:
    """A publisher and a worker, of which only one runs at a time."""

    def __init__(self, publisher: processes.Script, worker: processes.Worker) -> None:
        self._publisher = publisher
        self._worker = worker
        self.published = 0

    def measure(self, tasks: int) -> Run:
        before, after = self._publisher.ask(tasks, answers=2)
        self.published += _LEAD_IN + tasks + 2
        first, last = self._worker.empty_queue()
        # The marks are tasks too: between them lie the end of one and the beginning of the other.
        return Run(Cost.between(before, after, tasks), Cost.between(first, last, tasks + 1))


class DriverBench:
    """A script that makes the statements of a publisher, then those of a worker."""

    def __init__(self, driver: processes.Script) -> None:
        self._driver = driver

    def measure(self, tasks: int) -> Run:
        first, between, last = self._driver.ask(tasks, answers=3)
        return Run(Cost.between(first, between, tasks), Cost.between(between, last, tasks))


@contextmanager
def celery_bench(contender: Contender, stores: Stores) -> Iterator[CeleryBench]:
    """A bench on an empty store and broker; raises `BenchError` at the end if a record is amiss."""
    with (
        stores.empty("redis") as broker,
        stores.empty(contender.store) as url,
        TemporaryDirectory() as scratch,
    ):
        directory = Path(scratch)
        marks = directory / "marks"
        environment = _environment(stores, contender.store, url) | contender.environment()
        environment |= {"BENCHMARK_BROKER": broker, "BENCHMARK_MARKS": str(marks)}
        environment["XDG_STATE_HOME"] = scratch  # no spool in the user's own directory
        if contender.django_settings:
            processes.run_module("django migrate --verbosity 0", environment, directory)
        with (
            processes.script(
                f"benchmarks.publisher {_LEAD_IN}", environment, directory
            ) as publisher,
            processes.worker(environment, directory, marks) as worker,
        ):
            bench = CeleryBench(publisher, worker)
            yield bench
        _check(contender, url, bench.published)


@contextmanager
def driver_bench(limit: Limit, stores: Stores) -> Iterator[DriverBench]:
    """A bench of a bare driver on an empty store."""
    with stores.empty(limit.store) as url, TemporaryDirectory() as scratch:
        module = f"benchmarks.bare {limit.synchronous}"
        environment = _environment(stores, limit.store, url)
        with processes.script(module, environment, Path(scratch)) as driver:
            yield DriverBench(driver)


def _environment(stores: Stores, store: str, url: str) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(_ROOT),
        "BENCHMARK_STORE": url,
        "BENCHMARK_SERVER_PIDS": " ".join(map(str, stores.server_pids(store))),
    }


def _check(contender: Contender, url: str, published: int) -> None:
    try:
        recorded = contender.recorded(url)
    except Exception as error:  # Any library's; the figures of the others are to survive it.
        raise processes.BenchError(f"Its records cannot be read: {error!r}") from error
    if contender.store and recorded != published:
        raise processes.BenchError(f"{recorded} of {published} tasks are recorded as succeeded.")
