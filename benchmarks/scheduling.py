"""What ETA and countdown cost with and without fullresult, on real servers that this starts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

# Run as a script, from anywhere.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import claiming, draining, lateness, memory, planning
from benchmarks.places import Places

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True)
class Part:
    """One question, asked of every storage and, where it matters, of every broker."""

    title: str
    run: Callable[[Places, str, str, float], Iterator[str]]
    brokers: bool


PARTS = {
    "planning": Part("What scheduling a task costs its publisher", planning.run, False),
    "draining": Part("How fast what is due leaves", draining.run, True),
    "lateness": Part("How late a task leaves and starts, the sweeper idle", lateness.run, True),
    "memory": Part("What waiting tasks cost a worker", memory.run, True),
    "claiming": Part("Claiming among few and among many", claiming.run, False),
}
STORAGES = ("postgresql", "sqlite", "mongodb")
BROKERS = ("redis", "rabbitmq")


def main() -> int:
    options = _options()
    with ExitStack() as stack:
        places = Places(stack)
        for name in options.only:
            part = PARTS[name]
            print(f"\n{part.title}")
            for storage in options.storage:
                for broker in options.broker if part.brokers else BROKERS[:1]:
                    for line in part.run(places, storage, broker, options.scale):
                        print(f"  {line}", flush=True)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", type=_some(tuple(PARTS)), default=list(PARTS), metavar="PARTS")
    parser.add_argument("--storage", type=_some(STORAGES), default=list(STORAGES))
    parser.add_argument("--broker", type=_some(BROKERS), default=list(BROKERS))
    parser.add_argument(
        "--scale", type=float, default=1.0, help="of all numbers of tasks; 0.01 is a smoke run"
    )
    parser.epilog = f"PARTS, separated by commas: {', '.join(PARTS)}"
    return parser.parse_args()


def _some(known: Sequence[str]) -> Callable[[str], list[str]]:
    def read(text: str) -> list[str]:
        names = text.split(",")
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(f"{unknown.pop()!r} is none of {', '.join(known)}")
        return names

    return read


if __name__ == "__main__":
    sys.exit(main())
