"""Readings of wall clock and CPU, and what a task cost between two of them. Linux only."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Reading:
    """Seconds so far: of the wall clock, of a process with its children, of the servers it uses."""

    wall: float
    cpu: float
    server_cpu: float

    @classmethod
    def now(cls, pid: int) -> Reading:
        """Read the clocks of *pid* and of the servers that the environment names."""
        servers = map(int, os.environ["BENCHMARK_SERVER_PIDS"].split())
        server_cpu = sum(map(_family_cpu, servers))
        return cls(time.perf_counter(), _family_cpu(pid), server_cpu)

    @classmethod
    def from_json(cls, text: str) -> Reading:
        return cls(**json.loads(text))

    def to_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Cost:
    """Milliseconds per task."""

    wall: float
    cpu: float
    server_cpu: float

    @classmethod
    def between(cls, first: Reading, last: Reading, tasks: int) -> Cost:
        scale = 1000 / tasks
        return cls(
            (last.wall - first.wall) * scale,
            (last.cpu - first.cpu) * scale,
            (last.server_cpu - first.server_cpu) * scale,
        )

    def __sub__(self, other: Cost) -> Cost:
        return Cost(
            self.wall - other.wall, self.cpu - other.cpu, self.server_cpu - other.server_cpu
        )


def parent_of(pid: int) -> int:
    return int(_stat(pid)[1])


def _family_cpu(pid: int) -> float:
    """Seconds of CPU used by *pid*, by its living children and by those that have ended."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ended = sum(map(int, _stat(pid)[13:15])) / _TICKS_PER_SECOND
    return sum(map(_process_cpu, (pid, *map(int, children)))) + ended


def _process_cpu(pid: int) -> float:
    # The id that clock_getcpuclockid(3) computes: nanoseconds, where /proc has ticks of 10 ms.
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:  # It has just ended.
        return 0.0


def _stat(pid: int) -> list[str]:
    """Fields 3 and up of proc_pid_stat(5): the state, the parent, …."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
