"""Readings of wall clock and CPU, and what a task cost between two of them. Linux only."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Reading:
    """Seconds so far: of the wall clock, of a process with its children, of the servers it uses."""

    wall: float
    cpu: float
    server_cpu: float


@dataclass(frozen=True)
class Cost:
    """Milliseconds per task."""

    wall: float
    cpu: float
    server_cpu: float = 0.0

    def __sub__(self, other: Cost) -> Cost:
        return Cost(
            self.wall - other.wall, self.cpu - other.cpu, self.server_cpu - other.server_cpu
        )


def read(pid: int, server_pids: Iterable[int]) -> Reading:
    """Read the clocks of the process *pid* and of the servers it uses."""
    server_cpu = sum(map(_tree_cpu, server_pids))
    return Reading(time.perf_counter(), _tree_cpu(pid), server_cpu)


def cost(first: Reading, last: Reading, tasks: int) -> Cost:
    """What each of the *tasks* between two readings cost."""
    scale = 1000 / tasks
    return Cost(
        (last.wall - first.wall) * scale,
        (last.cpu - first.cpu) * scale,
        (last.server_cpu - first.server_cpu) * scale,
    )


def _tree_cpu(pid: int) -> float:
    process = psutil.Process(pid)
    ended = process.cpu_times()
    living = (pid, *(child.pid for child in process.children(recursive=True)))
    return sum(map(_process_cpu, living)) + float(ended.children_user + ended.children_system)


def _process_cpu(pid: int) -> float:
    # The id that clock_getcpuclockid(3) computes: nanoseconds, where /proc has ticks of 10 ms.
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0
