"""A real worker in a process group of its own, which ends before the demo."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fullresult.cli.demo.interrupts import held_back

_PATIENCE = 20.0


class Worker:
    """`celery -A shop worker`, with two children, run in *directory*."""

    def __init__(self, directory: Path, name: str) -> None:
        self._log = directory / f"{name}.log"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "celery", "-A", "shop", "worker"),
                    *("--pool=prefork", "--concurrency=2", f"--hostname={name}@%h"),
                    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
                    "--loglevel=INFO",
                ],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the demo; and a group is ended whole.
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Wait until it is ready. Raises `RuntimeError`, with its output, if it never is."""
        deadline = time.monotonic() + _PATIENCE
        while b" ready." not in (said := self._log.read_bytes()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the worker did not start: {said.decode()[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it and its children at once, as a power cut would."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(_PATIENCE)

    def ask_to_stop(self) -> None:
        """Have it end after the tasks it runs."""
        if self._process.poll() is None:
            self._process.terminate()

    def stop(self) -> None:
        """End it: ask first, and then kill it."""
        try:
            self.ask_to_stop()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE)
        finally:
            self.kill()


@contextmanager
def running(directory: Path, name: str) -> Iterator[Worker]:
    """A worker that ends with the block, however that ends."""
    worker: Worker | None = None
    try:
        with held_back():
            worker = Worker(directory, name)
        yield worker
        worker.stop()
    except BaseException:
        if worker:
            with held_back():
                worker.kill()
        raise
