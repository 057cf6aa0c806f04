"""The figures of a night in one JSON: what recording costs, how fast answers are, what tasks weigh.

    python benchmarks/nightly.py night.json            # all, at their full size
    python benchmarks/nightly.py night.json --small    # a smoke run, some minutes

Beside the figures it has the versions, the machine, and its load before and after each script:
without these a figure of one night says nothing about that of another.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent
_COSTS = _ROOT / "tests" / "recording" / "costs.json"
_PACKAGES = ("fullresult", "celery", "kombu", "psycopg", "pymongo")
_SCRIPTS: dict[str, tuple[str, ...]] = {"overhead": (), "queries": (), "sizes": ()}
_SMALL: dict[str, tuple[str, ...]] = {
    "overhead": ("--tasks", "20", "--rounds", "2", "--storage", "sqlite"),
    "queries": (
        *("--rows", "2000", "--backlog", "0", "--runs", "1"),
        *("--rounds", "1", "--storage", "sqlite"),
    ),
    "sizes": ("--tasks", "4000", "--storage", "sqlite"),
}


def main() -> int:
    """Run all and write the JSON; 1 if a script failed, or found a promise broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path, help="the JSON to write")
    parser.add_argument("--small", action="store_true", help="only see that all runs")
    options = parser.parse_args()
    night: dict[str, Any] = {"begun": _now(), **_surroundings()}
    night["costs"] = json.loads(_COSTS.read_text(encoding="utf-8"))
    for name, given in (_SMALL if options.small else _SCRIPTS).items():
        night[name] = _run(name, given)
        night["ended"] = _now()
        # After each: a night that is cut short keeps what it has.
        options.file.write_text(json.dumps(night, indent=1) + "\n", encoding="utf-8")
    return int(any(night[name]["exit"] for name in _SCRIPTS))


def _run(name: str, given: tuple[str, ...]) -> dict[str, Any]:
    before = os.getloadavg()[0]
    with TemporaryDirectory() as directory:
        figures = Path(directory, f"{name}.json")
        script = Path(__file__).with_name(f"{name}.py")
        command = [sys.executable, str(script), *given, "--json", str(figures)]
        code = subprocess.run(command, check=False).returncode
        found = json.loads(figures.read_text(encoding="utf-8")) if figures.exists() else None
    return {"exit": code, "load": [before, os.getloadavg()[0]], "figures": found}


def _surroundings() -> dict[str, Any]:
    return {
        "versions": {name: version(name) for name in _PACKAGES},
        "machine": {
            "system": platform.platform(),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
        },
    }


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(main())
