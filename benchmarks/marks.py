"""Readings that the publisher and the worker leave in files for the benchmark that started them."""

import json
import os
from dataclasses import asdict
from pathlib import Path

from benchmarks.meter import Reading, read


def add_mark(who: str, pid: int) -> None:
    """Read the clocks of *pid* and of the servers now."""
    reading = read(pid, map(int, os.environ["BENCHMARK_SERVER_PIDS"].split()))
    with _file(Path(os.environ["BENCHMARK_MARKS"]), who).open("a") as file:
        file.write(json.dumps(asdict(reading)) + "\n")


def marks_of(who: str, directory: Path) -> list[Reading]:
    """The readings so far, in order."""
    file = _file(directory, who)
    lines = file.read_text().splitlines() if file.exists() else []
    return [Reading(**json.loads(line)) for line in lines]


def _file(directory: Path, who: str) -> Path:
    return directory / f"{who}.marks"
