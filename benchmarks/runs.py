"""One run of one contender: a fresh publisher fills the queue, then a fresh worker empties it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.marks import marks_of
from benchmarks.meter import Cost, cost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.contenders import Contender, Limit
    from benchmarks.stores import Stores

_WARM_UP = 50
_MARKS = 2
_TIMEOUT = 300
_ROOT = Path(__file__).resolve().parent.parent
_WORKER = (
    "celery -A benchmarks.apps worker -P prefork -c 1"
    " --without-gossip --without-mingle --without-heartbeat"
)


class RunFailedError(Exception):
    """A publisher, a worker or its records are not as they should be."""


@dataclass(frozen=True)
class Run:
    """What one task cost the publisher and the worker."""

    publisher: Cost
    worker: Cost

    def __sub__(self, other: Run) -> Run:
        return Run(self.publisher - other.publisher, self.worker - other.worker)


@dataclass(frozen=True)
class _Bench:
    """Where the processes of one run work, and their environment."""

    directory: Path
    environment: dict[str, str]

    def python(self, module: str) -> None:
        """Run a module with its arguments to its end."""
        done = subprocess.run(
            [sys.executable, "-m", *module.split()],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RunFailedError(f"`python -m {module}` failed: {_tail(done.stderr)}")

    def empty_queue(self) -> None:
        """Run a worker until it has passed the last mark in its queue."""
        with (self.directory / "worker.log").open("wb") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", *_WORKER.split()],
                cwd=self.directory,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        try:
            self._wait_for_marks(worker)
        finally:
            worker.terminate()  # A warm shutdown: the last mark is recorded before it ends.
            worker.wait()

    def _wait_for_marks(self, worker: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _TIMEOUT
        while len(marks_of("worker", self.directory)) < _MARKS:
            if worker.poll() is not None or time.monotonic() > deadline:
                raise RunFailedError(f"the worker did not empty its queue: {self.worker_log()}")
            time.sleep(0.2)

    def worker_log(self) -> str:
        return _tail((self.directory / "worker.log").read_text(errors="replace"))

    def run(self, tasks: int) -> Run:
        """What the marks say."""
        return Run(self._cost("publisher", tasks), self._cost("worker", tasks))

    def _cost(self, who: str, tasks: int) -> Cost:
        first, last = marks_of(who, self.directory)
        return cost(first, last, tasks)


def run(contender: Contender, stores: Stores, tasks: int) -> Run:
    """Measure *contender* once on an empty store and an empty queue."""
    with (
        stores.empty("redis") as broker,
        stores.empty(contender.store) as url,
        _bench(stores, contender.store, url) as bench,
    ):
        bench.environment.update(contender.environment(), BENCHMARK_BROKER=broker)
        if contender.django_settings:
            bench.python("django migrate --verbosity 0")
        bench.python(f"benchmarks.publish {tasks} {_WARM_UP}")
        bench.empty_queue()
        _check_records(contender.recorded(url), contender, tasks, bench)
        return bench.run(tasks)


def run_limit(limit: Limit, stores: Stores, tasks: int) -> Run:
    """Measure what the driver alone needs for the statements of a task."""
    with stores.empty(limit.store) as url, _bench(stores, limit.store, url) as bench:
        bench.python(f"benchmarks.bare {tasks} {limit.synchronous}")
        return bench.run(tasks)


@contextmanager
def _bench(stores: Stores, store: str, url: str) -> Iterator[_Bench]:
    with TemporaryDirectory() as directory:
        environment = {
            **os.environ,
            "PYTHONPATH": str(_ROOT),
            "BENCHMARK_STORE": url,
            "BENCHMARK_SERVER_PIDS": " ".join(map(str, stores.server_pids(store))),
            "BENCHMARK_MARKS": directory,
        }
        yield _Bench(Path(directory), environment)


def _check_records(recorded: int, contender: Contender, tasks: int, bench: _Bench) -> None:
    expected = _WARM_UP + tasks + _MARKS if contender.store else 0
    if recorded != expected:
        raise RunFailedError(
            f"{recorded} of {expected} tasks are recorded as succeeded: {bench.worker_log()}"
        )


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-15:])
