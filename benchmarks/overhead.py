"""What recording a task costs: all contenders in turns, on real servers that this starts."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

# Run as a script, from anywhere.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.contenders import CONTENDERS, LIMITS, NONE
from benchmarks.report import report
from benchmarks.runs import RunFailedError, run, run_limit
from benchmarks.stores import Stores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.report import Round
    from benchmarks.runs import Run

_NAMES = [*CONTENDERS, *LIMITS]


def main() -> int:
    """Measure and print the report; 1 if something could not be measured."""
    options = _options()
    problems = _missing(options.only)
    with ExitStack() as servers_running:
        rounds = _measure(options, Stores(servers_running), problems)
    print("\n" + report(rounds))
    for name, problem in problems.items():
        print(f"\nNot measured: {name}: {problem}")
    if options.json:
        _write_json(options.json, rounds)
    return 1 if problems else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=400, help="tasks per run (%(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="runs of each (%(default)s)")
    parser.add_argument(
        "--only",
        type=_names,
        default=_NAMES,
        help=f"beginnings of names, separated by commas; all are {', '.join(_NAMES)}",
    )
    parser.add_argument("--json", type=Path, help="write the figures of every run to this file")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    beginnings = text.split(",")
    for beginning in beginnings:
        if not any(name.startswith(beginning) for name in _NAMES):
            raise argparse.ArgumentTypeError(f"no name begins with {beginning!r}")
    return [name for name in _NAMES if name == NONE.name or name.startswith(tuple(beginnings))]


def _missing(names: Sequence[str]) -> dict[str, str]:
    missing = {name: CONTENDERS[name].missing() for name in names if name in CONTENDERS}
    return {
        name: f"{', '.join(modules)} cannot be imported"
        for name, modules in missing.items()
        if modules
    }


def _measure(options: argparse.Namespace, stores: Stores, problems: dict[str, str]) -> list[Round]:
    """Interleaved rounds, every other one backwards; a contender that fails joins *problems*."""
    rounds = []
    for number in range(options.rounds):
        _progress(f"round {number + 1} of {options.rounds}:")
        names = options.only if number % 2 == 0 else options.only[::-1]
        rounds.append(_round(names, stores, options.tasks, problems))
        _progress("\n")
    measured = [name for name in options.only if name not in problems]
    return [{name: round_[name] for name in measured} for round_ in rounds]


def _round(
    names: Sequence[str], stores: Stores, tasks: int, problems: dict[str, str]
) -> dict[str, Run]:
    runs = {}
    for name in names:
        if name in problems:
            continue
        _progress(f" {name}")
        try:
            runs[name] = _run(name, stores, tasks)
        except RunFailedError as problem:
            if name == NONE.name:  # Nothing could be compared.
                raise
            problems[name] = str(problem)
    return runs


def _run(name: str, stores: Stores, tasks: int) -> Run:
    if name in LIMITS:
        return run_limit(LIMITS[name], stores, tasks)
    return run(CONTENDERS[name], stores, tasks)


def _progress(text: str) -> None:
    print(text, end="", file=sys.stderr, flush=True)


def _write_json(path: Path, rounds: Sequence[Round]) -> None:
    figures = [{name: asdict(run) for name, run in round_.items()} for round_ in rounds]
    path.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
