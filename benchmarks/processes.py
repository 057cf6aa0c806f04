"""The processes of a bench: scripts that answer numbers with readings, and a worker that waits."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.meter import Reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TIMEOUT = 300
_WORKER = (
    "celery -A benchmarks.apps worker -P prefork -c 1"
    " --without-gossip --without-mingle --without-heartbeat"
)


class BenchError(Exception):
    """A process or its records are not as they should be; holds the end of its log."""


@contextmanager
def started(
    module: str, environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[str]]:
    """A module with its arguments, terminated at the end and waited for."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", *module.split()],
            cwd=log.parent,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    with process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()


def tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").strip().splitlines()[-15:])


class Script:
    """A script that reads a number and answers with lines, a reading each."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log

    def ask(self, number: int, *, answers: int) -> list[Reading]:
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(f"{number}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise BenchError(tail(self._log)) from None
        lines = [self._process.stdout.readline() for _ in range(answers)]
        if not all(lines):
            raise BenchError(tail(self._log))
        return [Reading.from_json(line) for line in lines]


class Worker:
    """A worker that is stopped (SIGSTOP) except while it empties its queue."""

    def __init__(self, process: subprocess.Popen[str], marks: Path, log: Path) -> None:
        self._process = process
        self._marks = marks
        self._log = log

    def empty_queue(self) -> list[Reading]:
        """Let it run until it has passed two marks."""
        self._marks.write_text("")
        self._process.send_signal(signal.SIGCONT)
        self._wait_for_marks()
        self._process.send_signal(signal.SIGSTOP)
        return [Reading.from_json(line) for line in self._marks.read_text().splitlines()]

    def _wait_for_marks(self) -> None:
        deadline = time.monotonic() + _TIMEOUT
        while self._marks.read_text().count("\n") < 2:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"The worker does not empty its queue. {tail(self._log)}")
            time.sleep(0.02)
        # Its child records the end of the last mark.
        time.sleep(0.05)


def worker_command() -> str:
    return _WORKER
