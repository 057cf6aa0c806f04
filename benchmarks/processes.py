"""The processes of a bench: scripts that answer numbers with readings, a worker that waits."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.meter import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_TIMEOUT = 120
_WORKER = (
    "celery -A benchmarks.apps worker -P prefork -c 1"
    " --without-gossip --without-mingle --without-heartbeat"
)


class BenchError(Exception):
    """A process or its records are not as they should be; the message ends with its log's end."""


class Script:
    """A script that reads numbers and answers each with lines, a reading each."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log

    def ask(self, number: int, *, answers: int) -> list[Reading]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin
        assert stdout
        try:
            print(number, file=stdin, flush=True)
        except BrokenPipeError:
            raise BenchError(tail(self._log)) from None
        lines = [stdout.readline() for _ in range(answers)]
        if not all(lines):
            raise BenchError(tail(self._log))
        return [Reading.from_json(line) for line in lines]


class Worker:
    """A worker whose parent is stopped (SIGSTOP) except while it empties its queue."""

    def __init__(self, process: subprocess.Popen[str], marks: Path, log: Path) -> None:
        self._process = process
        self._marks = marks
        self._log = log
        self._seen = 0

    def empty_queue(self) -> list[Reading]:
        """Let it run until it has passed two marks; their readings."""
        self._process.send_signal(signal.SIGCONT)
        readings = self._wait_for_marks()
        time.sleep(0.05)  # The end of the last mark is recorded after it was set.
        self._process.send_signal(signal.SIGSTOP)
        return readings

    def _wait_for_marks(self) -> list[Reading]:
        deadline = time.monotonic() + _TIMEOUT
        while True:
            lines = self._marks.read_text().splitlines()[self._seen :]
            if len(lines) == 2:
                self._seen += 2
                return [Reading.from_json(line) for line in lines]
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"The worker does not empty its queue. {tail(self._log)}")
            time.sleep(0.02)


@contextmanager
def script(module: str, environment: Mapping[str, str], directory: Path) -> Iterator[Script]:
    """A module and its arguments, running until the end of the block."""
    log = directory / "script.log"
    with _started(module, environment, log, subprocess.PIPE) as process:
        yield Script(process, log)


@contextmanager
def worker(environment: Mapping[str, str], directory: Path, marks: Path) -> Iterator[Worker]:
    """A worker of `apps`; at the end of the block it finishes what it does."""
    log = directory / "worker.log"
    marks.touch()
    with _started(_WORKER, environment, log, subprocess.DEVNULL) as process:
        yield Worker(process, marks, log)


def run_module(module: str, environment: Mapping[str, str], directory: Path) -> None:
    log = directory / "module.log"
    with _started(module, environment, log, subprocess.DEVNULL) as process:
        if process.wait(_TIMEOUT):
            raise BenchError(f"`python -m {module}` failed. {tail(log)}")


@contextmanager
def _started(
    module: str, environment: Mapping[str, str], log: Path, stdout: int
) -> Iterator[subprocess.Popen[str]]:
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-m", *module.split()],
            cwd=log.parent,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=errors,
            text=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()


def tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").strip().splitlines()[-15:])
