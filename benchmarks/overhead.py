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
from benchmarks.contest import Contest
from benchmarks.report import report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.report import Round

_ALL = {**CONTENDERS, **LIMITS}
_NAMES = [*_ALL]
_STORES = sorted({each.store for each in _ALL.values()} - {NONE.store})


def main() -> int:
    """Measure and print the report; 1 if something could not be measured."""
    options = _options()
    with ExitStack() as stack:
        contest = Contest(stack)
        rounds = _measure(contest, options)
    if NONE.name not in contest.problems:
        print(report(rounds))
    for name, problem in contest.problems.items():
        print(f"\nNot measured: {name}. {problem}")
    if options.json:
        _write_json(options.json, rounds)
    return 1 if contest.problems else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100, help="tasks per run (%(default)s)")
    parser.add_argument("--rounds", type=int, default=40, help="runs of each (%(default)s)")
    parser.add_argument(
        "--only",
        type=_names,
        default=_NAMES,
        help=f"beginnings of names, separated by commas; all are {', '.join(_NAMES)}",
    )
    parser.add_argument(
        "--storage",
        choices=_STORES,
        help="only those that record in this; the names of --only are narrowed further",
    )
    parser.add_argument("--json", type=Path, help="write the figures of every run to this file")
    options = parser.parse_args()
    if options.storage:
        options.only = [name for name in options.only if _ALL[name].store in ("", options.storage)]
    return options


def _names(text: str) -> list[str]:
    beginnings = text.split(",")
    for beginning in beginnings:
        if not any(name.startswith(beginning) for name in _NAMES):
            raise argparse.ArgumentTypeError(f"no name begins with {beginning!r}")
    return [name for name in _NAMES if name == NONE.name or name.startswith(tuple(beginnings))]


def _measure(contest: Contest, options: argparse.Namespace) -> list[Round]:
    """Every other round goes backwards; whoever leaves the contest has no figures at all."""
    for name in options.only:
        _progress(f"setting up {name}")
        contest.enter(name)
    rounds = []
    for number in range(options.rounds):
        _progress(f"round {number + 1} of {options.rounds}")
        rounds.append(contest.round(options.tasks, backwards=number % 2 == 1))
    _progress("")
    contest.end()
    return [
        {name: run for name, run in round_.items() if name not in contest.problems}
        for round_ in rounds
    ]


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:<79}\r", end="", file=sys.stderr, flush=True)


def _write_json(path: Path, rounds: Sequence[Round]) -> None:
    figures = [{name: asdict(run) for name, run in round_.items()} for round_ in rounds]
    path.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
