"""What an import that takes waiting tasks over says of them, before and afterwards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.importers.test_original import sweep, take
from tests.kit.commands import run
from tests.kit.original_table import HOUR, OriginalTable
from tests.kit.other_results import importing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fullresult import FullResult


@pytest.fixture
def table(tmp_path: Path) -> OriginalTable:
    return OriginalTable(f"sqlite:///{tmp_path}/original.db")


@pytest.fixture
def full(tmp_path: Path) -> Iterator[FullResult]:
    found = importing(
        f"sqlite:///{tmp_path}/records.db",
        fullresult_schedule_eta=True,
        fullresult_ignore=["private.*"],
    )
    found.setup()
    yield found
    found.close()


def test_a_dry_run_says_what_the_import_will(full: FullResult, table: OriginalTable) -> None:
    table.add_waiting(-HOUR)
    table.claim_due()
    table.add_waiting(HOUR)
    table.add_waiting(HOUR)
    table.add_waiting(HOUR, args="no json")
    table.add_waiting(HOUR, task="")
    table.add(args="no json")
    table.add()
    words = ("import", "--from", "fulldbresult", table.url, "--take-scheduled", "--json")

    dry = run(full.app, *words, "--dry-run")
    done = run(full.app, *words, "--yes")

    said, did = json.loads(dry.stdout), json.loads(done.stdout)
    del said["dry_run"], did["dry_run"]
    assert said == did
    assert (did["read"], did["taken"], len(did["uncertain"])) == (7, 2, 1)
    assert (did["unreadable"], did["staying"], did["new"]) == (2, 2, 2)
    assert dry.exit_code == done.exit_code == 1
    assert "2 rows could not be read; 2 tasks that wait there cannot be taken over" in dry.stderr


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (1, "1 task had been claimed there and perhaps sent: it is PENDING, and `stale` lists it."),
        (2, "2 tasks had been claimed there and perhaps sent: they are PENDING, and `stale` lists"),
    ],
)
def test_what_the_original_had_claimed_is_told(
    full: FullResult, table: OriginalTable, number: int, said: str
) -> None:
    for _ in range(number):
        table.add_waiting(-HOUR)
    table.claim_due()

    answer = run(
        full.app, "import", "--from", "fulldbresult", table.url, "--take-scheduled", "--yes"
    )

    assert said in answer.stderr


def test_a_row_is_counted_once_in_each_number(full: FullResult, table: OriginalTable) -> None:
    bad = table.add_waiting(args="no json")

    done = take(full, table)

    assert (done.read, done.unreadable, done.staying) == (1, 1, 1)
    assert list(done.problems) == [bad]


def test_what_was_taken_over_before_is_known(full: FullResult, table: OriginalTable) -> None:
    table.add_waiting(HOUR)
    take(full, table)

    done = take(full, table)

    assert (done.read, done.known, done.skipped, done.taken) == (1, 1, 0, 0)


def test_a_claimed_task_that_is_not_recorded_keeps_no_other_from_being_taken_over(
    full: FullResult, table: OriginalTable
) -> None:
    stuck = table.add_waiting(-HOUR, task="private.task")
    table.claim_due()
    good = table.add_waiting()

    done = take(full, table)

    assert (done.taken, done.staying) == (1, 1)
    assert "fullresult_ignore" in done.problems[stuck]
    assert sweep(full) == [good]
