"""Makes the page on performance of the figures of a night.

    python benchmarks/performance.py          # benchmarks/night.json into docs/performance.md

It reckons and judges, and measures nothing: `nightly.py` does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

# Run as a script, from anywhere.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.benches import Run
from benchmarks.meter import Cost
from benchmarks.report import tables

NIGHT = Path(__file__).with_name("night.json")
PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
_NAMES = {"postgresql": "PostgreSQL", "sqlite": "SQLite", "mongodb": "MongoDB"}
_HEAD = """# Performance

What recording costs and how fast a full store answers, measured side by side in one run.
`python benchmarks/performance.py` makes this page of `benchmarks/night.json`, which `python benchmarks/nightly.py` writes; a test holds the one to the other.
[Benchmarks](../benchmarks/README.md) says how each part measures, what was seen on quieter machines, and what was tried and did not help.

Milliseconds are about the machine and what else ran there; shares and multiples of others in the same run are the result, and counts are the same everywhere.
"""  # noqa: E501
_OVERHEAD = """## What recording adds to a task

Each figure is the median over the rounds, with the quartiles in brackets.
`database`, `redis` and `mongodb` are Celery's result backends with `result_extended` and `task_track_started`, `django` is django-celery-results, and `bare` is the driver's INSERT and two UPDATEs without Celery, which no recorder can beat.
"""  # noqa: E501


def main() -> None:
    PAGE.write_text(page(json.loads(NIGHT.read_text(encoding="utf-8"))), encoding="utf-8")


def page(night: Mapping[str, Any]) -> str:
    """The page, in Markdown; a part that was not measured is left out."""
    sections = [_HEAD, _surroundings(night)]
    parts = night["parts"]
    if rounds := _figures(parts, "overhead"):
        sections += [_OVERHEAD, *_overhead(rounds)]
    sections.append(_costs(night["costs"]))
    if sizes := _of_storages(parts, "sizes"):
        sections.append(_sizes(sizes))
    if answers := _of_storages(parts, "queries"):
        sections += [_answers(answers), _indexes(answers)]
    return "\n".join(sections)


def _figures(parts: Mapping[str, Any], name: str) -> Any:
    return parts[name]["figures"] if name in parts else None


def _of_storages(parts: Mapping[str, Any], script: str) -> dict[str, Any]:
    """What the script found of each storage."""
    found = {kind: _figures(parts, f"{script} {kind}") for kind in _NAMES}
    return {kind: figures[kind] for kind, figures in found.items() if figures}


def _surroundings(night: Mapping[str, Any]) -> str:
    machine = night["machine"]
    versions = [f"{name} {number}" for name, number in night["versions"].items()]
    servers = [kept["server"] for kept in night["costs"].values()]
    rows = [
        [
            name,
            f"`{' '.join(part['given'])}`" if part["given"] else "",
            part["begun"].replace("+00:00", "").replace("T", " "),
            ", ".join(str(load) for load in part["load"]),
        ]
        for name, part in night["parts"].items()
    ]
    header = ["part", "given", "begun (UTC)", "load before and after"]
    return (
        f"{machine['cores']} cores, {machine['system']}, CPython {machine['python']}; "
        f"{', '.join([*versions, *servers])}.\n\n{_table(header, rows)}"
    )


def _overhead(figures: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    rounds = [
        {name: Run(Cost(**run["publisher"]), Cost(**run["worker"])) for name, run in each.items()}
        for each in figures
    ]
    yield f"{len(rounds)} rounds of all in turns.\n"
    for title, (header, rows) in tables(rounds).items():
        shown = [[cell.replace("BROKEN", "**not kept**") for cell in row] for row in rows]
        yield f"### {title}\n\n{_table(header, shown)}"


def _costs(costs: Mapping[str, Any]) -> str:
    units = (
        *("statements", "round trips", "bytes sent", "bytes received", "bytes of WAL", "pages"),
        "instructions",
    )
    rows = [
        [
            _NAMES[kind],
            step,
            *(_number({**use, **_instructions(modes, step)}.get(u)) for u in units),
        ]
        for kind, modes in costs.items()
        for mode in ("direct", "spooled")
        for step, use in modes[mode].items()
        if not step.startswith("spooled ")
    ]
    return (
        "## What a task asks of its storage\n\n"
        "Counted, not timed: `tests/recording/test_growing_costs.py` fails when one grows, and "
        "[scale](scale.md) reckons with them.\n"
        "Instructions are those of Python 3.11 that our own code runs.\n"
        f"\n{_table(['', 'step', *units], rows)}"
    )


def _instructions(modes: Mapping[str, Any], step: str) -> dict[str, int]:
    found: dict[str, int] = modes.get("Python 3.11", {}).get(step, {})
    return found


def _sizes(sizes: Mapping[str, Mapping[str, float]]) -> str:
    rows = [
        [_NAMES[kind], name, _number(round(value))]
        for kind, figures in sizes.items()
        for name, value in figures.items()
    ]
    return f"## What a task weighs\n\n{_table(['', 'a task', 'bytes'], rows)}"


def _answers(found: Mapping[str, Any]) -> str:
    names = [*dict.fromkeys(name for kept in found.values() for name in kept["answers"])]
    rows = [
        [name, *(_answer(kept["answers"].get(name)) for kept in found.values())] for name in names
    ]
    header = ["question", *(f"{_NAMES[kind]}, {_size(kept)}" for kind, kept in found.items())]
    return (
        "## How long a full store takes to answer\n\n"
        "Milliseconds, the median of some runs; what was promised is in brackets.\n"
        f"\n{_table(header, rows)}"
    )


def _size(kept: Mapping[str, Any]) -> str:
    backlog = f" and {kept['backlog']:,} that wait" if kept["backlog"] else ""
    return f"{kept['rows']:,} records{backlog}"


def _answer(answer: Mapping[str, Any] | None) -> str:
    if answer is None:
        return ""
    middle, promised = answer["middle"], answer["promised"]
    if promised is None:
        return f"{middle:.1f}"
    verdict = "" if middle <= promised else ", **not kept**"
    return f"{middle:.1f} ({promised:g}{verdict})"


def _indexes(found: Mapping[str, Any]) -> str:
    rows = [
        [
            _NAMES[kind],
            way,
            f"{median(cost['bare']):.2f}",
            f"{median(cost['indexed']):.2f}",
            _added(cost),
        ]
        for kind, kept in found.items()
        for way, cost in kept["writes"].items()
    ]
    header = ["", "written", "ms a task without", "with", "the indexes add"]
    return f"## What the indexes add to a write\n\n{_table(header, rows)}"


def _added(cost: Mapping[str, Sequence[float]]) -> str:
    return f"{median(b / a for a, b in zip(cost['bare'], cost['indexed'], strict=True)) - 1:+.0%}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
