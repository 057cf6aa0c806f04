"""What a task costs its storage, counted and compared with `costs.json`: it must not grow unseen.

Statements, round trips, bytes and pages do not depend on the machine, as times do, but on the
version of the server: with another one than the file was written with, nothing is compared.
So it is with instructions of our code, which are those of Python's own machine, and its version.
`FULLRESULT_RENEW_COSTS=1 pytest tests/recording/test_growing_costs.py` writes that file anew.
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import celery
import pytest

from fullresult import FullResult
from tests.kit import workers
from tests.kit.instructions import RELIABLE, counting
from tests.kit.lives import Life, living
from tests.kit.meters import Meter, Use, metered

COSTS = Path(__file__).with_name("costs.json")
RENEW = "FULLRESULT_RENEW_COSTS"
TOLERANCE = 0.03
"""The share by which bytes may differ: versions of Celery have headers more or less."""
NEWEST = (5, 7)
"""The version of Celery that the file was written with."""
EXACT = ("statements", "round trips", "pages")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
WARM_UP = 5
TASKS = 25
BATCHES = 3
FLUSH = f"flush of {TASKS} tasks"
STORAGES = ("postgresql", "sqlite", "mongodb")

Costs = dict[str, Use]


@pytest.fixture(params=STORAGES)
def meter(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Meter]:
    with workers.storage(request.param, request, tmp_path) as url, metered(url) as found:
        yield found


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.node.callspec.params["meter"])


class Steps:
    """The use of each step, read after it."""

    def __init__(self, read: Callable[[], Use]) -> None:
        self._read = read
        self._seen: dict[str, list[Use]] = defaultdict(list)

    def note(self, step: str) -> None:
        use = self._read()
        if step:
            self._seen[step].append(use)

    def medians(self) -> Costs:
        """A page more or less for a split, or a log's own record now and then, is none of ours."""
        return {
            step: {unit: int(median(use[unit] for use in uses)) for unit in uses[0]}
            for step, uses in self._seen.items()
        }

    def forget(self) -> None:
        self._seen.clear()


def direct(meter: Meter) -> Costs:
    """What each step asks of the storage and writes there."""
    steps = Steps(meter.read)
    with living(meter.url, steps.note) as (life, full):
        live(life, WARM_UP)
        steps.forget()
        live(life, TASKS)

        assert full.count(state="SUCCESS") == WARM_UP + TASKS
    return steps.medians()


def spooled(meter: Meter) -> Costs:
    """What each step adds to the spool, and what a batch of tasks then asks of the storage."""
    known = 0

    def added() -> Use:
        nonlocal known
        status = full.spool_status()
        assert status is not None
        before, known = known, status.bytes
        return {"bytes of spool": known - before}

    steps, batches = Steps(added), Steps(meter.read)
    with living(meter.url, steps.note, **SPOOLED) as (life, full):
        live(life, WARM_UP)
        written(full)
        for _ in range(BATCHES):
            with held(meter, full):
                meter.read()
                steps.forget()
                live(life, TASKS)
            written(full)
            batches.note(FLUSH)

        assert full.count(state="SUCCESS") == WARM_UP + BATCHES * TASKS
    return {f"spooled {step}": use for step, use in steps.medians().items()} | batches.medians()


SPOOLED = {"fullresult_write_mode": "spooled", "fullresult_storage_timeout": 60}


@contextmanager
def held(meter: Meter, full: FullResult) -> Iterator[None]:
    """The flusher waits with one event, and all others come together behind it."""
    with meter.hold():
        full.app.send_task("shop.tasks.first", queue="another")
        assert workers.until(lambda: is_being_read(full))
        yield


def is_being_read(full: FullResult) -> bool:
    """A file to which no more is appended has no room reserved, and so is as long as its lines."""
    status = full.spool_status()
    assert status is not None
    files = Path(status.directory).glob("*.spool")
    return status.bytes > 0 and sum(file.stat().st_size for file in files) == status.bytes


def written(full: FullResult) -> None:
    assert workers.until(lambda: (status := full.spool_status()) and not status.events)


def live(life: Life, tasks: int) -> None:
    for _ in range(tasks):
        life.publish()
        life.run()


def instructions(meter: Meter) -> Costs:
    """What each step runs of our own code; what it calls in C, as JSON is made, is one of them."""
    with counting() as read:
        steps = Steps(read)
        with living(meter.url, steps.note) as (life, full):
            live(life, WARM_UP)
            steps.forget()
            live(life, TASKS)

            assert full.count(state="SUCCESS") == WARM_UP + TASKS
    return steps.medians()


MEASURES = {"direct": direct, "spooled": spooled}


@pytest.mark.parametrize("mode", MEASURES)
def test_a_task_costs_its_storage_no_more_than_before(mode: str, kind: str, meter: Meter) -> None:
    found = MEASURES[mode](meter)

    if os.environ.get(RENEW):
        renew(kind, mode, meter.server, found)
    costs = json.loads(COSTS.read_text(encoding="utf-8"))[kind]
    versions = f"{COSTS.name} is of {costs['server']}, and this is {meter.server}"
    if not is_of(costs["server"], meter.server):
        pytest.skip(versions)
    told = f"If it is meant, renew {COSTS.name}: {RENEW}=1 python -m pytest {Path(__file__).name}"
    assert differences(costs[mode], found) == [], (
        f"{told}. {versions}, with Celery {celery.__version__}."
    )


@pytest.mark.skipif(not RELIABLE, reason="this Python does not tell of all instructions")
@pytest.mark.skipif(celery.VERSION < NEWEST, reason="older ones tell less of a task")
def test_a_task_runs_no_more_instructions_than_before(kind: str, meter: Meter) -> None:
    found = instructions(meter)

    if os.environ.get(RENEW):
        renew(kind, f"Python {PYTHON}", meter.server, found)
    known = json.loads(COSTS.read_text(encoding="utf-8"))[kind].get(f"Python {PYTHON}")
    if known is None:
        pytest.skip(f"{COSTS.name} has no instructions of Python {PYTHON}")
    told = f"{RENEW}=1 python -m pytest {Path(__file__).name}, on each Python that it has"
    assert differences(known, found) == [], f"If it is meant, renew {COSTS.name}: {told}"


def is_of(known: str, found: str) -> bool:
    """True if both are one database of one major version."""
    return known.partition(".")[0] == found.partition(".")[0]


def differences(known: Costs, found: Costs) -> list[str]:
    """What is not as it was, also what costs less: else it could grow again unseen."""
    return [
        f"{step}: {found[step].get(unit)} {unit}, not {use}"
        for step, uses in known.items()
        for unit, use in uses.items()
        if not is_same(found[step].get(unit, 0), use, 0 if unit in EXACT else TOLERANCE)
    ]


def is_same(found: int, known: int, tolerance: float) -> bool:
    # Celery before 5.7 tells less of a task, no runtime for one.
    is_less = found < known * (1 - tolerance) and celery.VERSION >= NEWEST
    return not is_less and found <= known * (1 + tolerance)


def renew(kind: str, mode: str, server: str, found: Costs) -> None:
    costs = json.loads(COSTS.read_text(encoding="utf-8")) if COSTS.exists() else {}
    costs.setdefault(kind, {}).update({"server": server, mode: found})
    COSTS.write_text(json.dumps(costs, indent=1) + "\n", encoding="utf-8")


def test_the_page_on_scale_reckons_with_these_figures() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "scale.md").read_text(encoding="utf-8")
    costs = json.loads(COSTS.read_text(encoding="utf-8"))
    of_tasks = []
    for kind, units in PAGE.items():
        direct, flush = costs[kind]["direct"], costs[kind]["spooled"][FLUSH]
        of_tasks += [sum(direct[step][unit] for step in STEPS) for unit in units]
        of_tasks += [flush[unit] / TASKS for unit in units]

    # To tens: a run that took a microsecond more is a byte longer.
    assert not [known for known in of_tasks if f"| {round(known, -1):,.0f} " not in page]


STEPS = ("publish", "start", "end")
PAGE = {
    "postgresql": ("bytes sent", "bytes received", "bytes of WAL"),
    "mongodb": ("bytes sent", "bytes received"),
}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"statements": 2}, ["publish: 2 statements, not 1"]),
        ({"bytes sent": 1_031}, ["publish: 1031 bytes sent, not 1000"]),
        pytest.param(
            {"bytes sent": 969},
            ["publish: 969 bytes sent, not 1000"],
            marks=pytest.mark.skipif(celery.VERSION < NEWEST, reason="Celery tells less there"),
        ),
        ({"bytes sent": 1_029}, []),
    ],
)
def test_a_difference_is_told_with_both_figures(more: Use, told: list[str]) -> None:
    known = {"statements": 1, "bytes sent": 1_000}

    assert differences({"publish": known}, {"publish": {**known, **more}}) == told


@pytest.mark.parametrize(
    ("known", "found", "same"),
    [
        ("PostgreSQL 18.0", "PostgreSQL 18.4", True),
        ("PostgreSQL 18.0", "PostgreSQL 14.9", False),
        ("MongoDB 6.0.5", "MongoDB 8.0.1", False),
        ("SQLite 3.40.1", "SQLite 3.50.4", True),
    ],
)
def test_only_what_is_of_one_major_version_is_compared(
    known: str, found: str, *, same: bool
) -> None:
    assert is_of(known, found) is same
