"""The figures of a night in one JSON: what recording costs, how fast answers are, what tasks weigh.

    python benchmarks/nightly.py night.json                     # all, at their full size
    python benchmarks/nightly.py night.json --small             # only see that all runs
    python benchmarks/nightly.py night.json --only overhead -- --rounds 16

Each part has its load before and after it, and the night its versions and its machine: without
these a figure of one night says nothing about that of another.
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
_STORAGES = ("postgresql", "sqlite", "mongodb")
_OF_STORAGES = ("queries", "sizes")
PARTS: dict[str, tuple[str, ...]] = {
    "overhead": ("overhead",),
    **{
        f"{script} {kind}": (script, "--storage", kind)
        for script in _OF_STORAGES
        for kind in _STORAGES
    },
}
"""The script of each part and what it is given."""
_SMALL: dict[str, tuple[str, ...]] = {
    "overhead": ("--tasks", "20", "--rounds", "2", "--storage", "sqlite"),
    "queries": ("--rows", "2000", "--backlog", "0", "--runs", "1", "--rounds", "1", "--unjudged"),
    "sizes": ("--tasks", "4000"),
}


def main() -> int:
    """Run all and write the JSON; 1 if a script failed, or found a promise broken."""
    options = _options()
    night: dict[str, Any] = {"parts": {}}
    if options.only and options.file.exists():
        night = json.loads(options.file.read_text(encoding="utf-8"))
    night |= _surroundings()
    night["costs"] = json.loads(_COSTS.read_text(encoding="utf-8"))
    chosen = options.only or [*PARTS]
    for name in chosen:
        script, *given = PARTS[name]
        small = _SMALL[script] if options.small else ()
        night["parts"][name] = _run(script, [*given, *small, *options.given])
        # After each: a night that is cut short keeps what it has.
        options.file.write_text(_text(night), encoding="utf-8")
    return int(any(night["parts"][name]["exit"] for name in chosen))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path, help="the JSON to write")
    parser.add_argument("--small", action="store_true", help="only see that all runs")
    parser.add_argument(
        "--only",
        type=_parts,
        help=f"some of {', '.join(PARTS)}, separated by commas: the file keeps its other parts",
    )
    parser.epilog = "What follows -- is given to the scripts."
    own, given = _parted(sys.argv[1:])
    options = parser.parse_args(own)
    options.given = given
    return options


def _parted(words: list[str]) -> tuple[list[str], list[str]]:
    """What stands before `--`, and after it."""
    end = words.index("--") if "--" in words else len(words)
    return words[:end], words[end + 1 :]


def _parts(text: str) -> list[str]:
    parts = text.split(",")
    if unknown := set(parts) - set(PARTS):
        raise argparse.ArgumentTypeError(f"{unknown.pop()!r} is none of {', '.join(PARTS)}")
    return parts


def _run(script: str, given: list[str]) -> dict[str, Any]:
    begun, before = _now(), os.getloadavg()[0]
    with TemporaryDirectory() as directory:
        figures = Path(directory, "figures.json")
        path = Path(__file__).with_name(f"{script}.py")
        command = [sys.executable, str(path), *given, "--json", str(figures)]
        code = subprocess.run(command, check=False).returncode
        found = json.loads(figures.read_text(encoding="utf-8")) if figures.exists() else None
    return {
        "begun": begun,
        "ended": _now(),
        "load": [round(load, 1) for load in (before, os.getloadavg()[0])],
        "given": given,
        "exit": code,
        "figures": _rounded(found),
    }


def _surroundings() -> dict[str, Any]:
    return {
        "versions": {name: version(name) for name in _PACKAGES},
        "machine": {
            "system": platform.system(),
            "python": platform.python_version(),
            "cores": os.cpu_count(),
        },
    }


def _rounded(found: Any) -> Any:
    """Five digits are more than any of these figures tells."""
    if isinstance(found, float):
        return float(f"{found:.5g}")
    if isinstance(found, dict):
        return {name: _rounded(value) for name, value in found.items()}
    return [*map(_rounded, found)] if isinstance(found, list) else found


def _text(night: dict[str, Any]) -> str:
    """One line for each part, so that a change of one is seen as such."""
    parts = ",\n".join(
        f"  {json.dumps(name)}: {json.dumps(part)}" for name, part in night["parts"].items()
    )
    others = [
        f" {json.dumps(name)}: {json.dumps(value)}" for name, value in night.items()
        if name != "parts"
    ]  # fmt: skip
    return "{\n" + ",\n".join([*others, f' "parts": {{\n{parts}\n }}']) + "\n}\n"


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


if __name__ == "__main__":
    sys.exit(main())
