"""An import that was interrupted goes on, and no row is counted twice."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from fullresult.actions.audit import actor_here
from fullresult.importers.deed import Import, Wish
from tests.kit.celery_table import Table
from tests.kit.commands import run
from tests.kit.other_results import importing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fullresult import FullResult
    from fullresult.importers.importing import Imported

MONTH = timedelta(days=30)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    found = Table(tmp_path / "results.db")
    for number in range(30):
        found.add(f"task-{number:02d}")
    return found


@pytest.fixture
def full(tmp_path: Path) -> Iterator[FullResult]:
    found = importing(f"sqlite:///{tmp_path}/records.db", fullresult_ignore=["private.*"])
    yield found
    found.close()


def job_of(full: FullResult, table: Table, **known: Any) -> closing[Import]:
    return closing(full.importing(Wish("celery", table.url, **known), actor_here("python")))


def interrupt(
    full: FullResult, table: Table, first: Callable[[], None] = lambda: None, **known: Any
) -> Imported:
    """Begin an import, and end it after 10 rows, when *first* was done."""
    pages = 0

    def advance(_: int) -> None:
        nonlocal pages
        pages += 1
        if pages == 2:
            first()
            raise KeyboardInterrupt

    with job_of(full, table, batch=5, **known) as job:
        with pytest.raises(KeyboardInterrupt):
            job.run(advance)
        return job.done


def sums_up(done: Imported) -> bool:
    parts = (done.new, done.changed, done.known, done.skipped, done.unreadable, done.taken)
    return done.read == sum(parts) + len(done.uncertain)


# ---- it is found again


def test_the_length_of_time_that_was_typed_goes_on(full: FullResult, table: Table) -> None:
    """It is another moment each time."""
    interrupt(full, table, since=MONTH)

    answer = run(
        full.app, "import", "--from", "celery", table.url, "--since", "30d", "--yes",
    )  # fmt: skip

    first, last = reversed(full.audit_log(action="import"))
    assert "Going on where" in answer.stderr
    assert "20 rows of" in answer.stderr
    assert "20 rows read: 20 new" in answer.stdout
    assert last.details["since"] == first.details["since"] == "30 days, 0:00:00"
    assert last.details["from"] == first.details["from"]


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"since": timedelta(days=31)},
        {"since": datetime(2026, 1, 1, tzinfo=timezone.utc)},
        {"since": MONTH, "zone": timezone(timedelta(hours=1))},
    ],
)
def test_another_wish_begins_anew(full: FullResult, table: Table, other: Any) -> None:
    interrupt(full, table, since=MONTH)

    with job_of(full, table, **other) as job:
        assert job.interrupted is None


def test_one_that_finds_nothing_more_is_done(full: FullResult, table: Table) -> None:
    table.run("DELETE FROM celery_taskmeta WHERE id > 10")
    interrupt(full, table)

    done = full.import_records("celery", table.url)

    assert (done.read, full.count()) == (0, 10)
    with job_of(full, table) as job:
        assert job.interrupted is None


def test_what_went_on_meanwhile_is_looked_for_until_that_is_done(
    full: FullResult, table: Table
) -> None:
    """An end between the rows that were left and those that went on is no end."""
    interrupt(full, table)
    looked: list[int] = []

    def advance(more: int) -> None:
        looked.append(more)
        if sum(looked) == 20 and more == 0:  # the first page of the look
            raise KeyboardInterrupt

    with job_of(full, table, batch=5) as job, pytest.raises(KeyboardInterrupt):
        job.run(advance)

    assert not job.done.finished
    with job_of(full, table) as job:
        assert job.interrupted is not None


# ---- and nothing is counted twice


def test_both_parts_count_each_row_once(full: FullResult, table: Table) -> None:
    table.add("bad", result=b"\x80\x04\x95")
    table.add("private", name="private.task")
    table.run("UPDATE celery_taskmeta SET name = 'private.task' WHERE task_id = 'task-03'")
    first = interrupt(full, table)

    second = full.import_records("celery", table.url, batch=5)

    assert (first.read, first.new, first.skipped) == (10, 9, 1)
    assert (second.read, second.new, second.unreadable, second.skipped) == (22, 20, 1, 1)
    assert second.states == {"SUCCESS": 20}
    assert second.resendable == 20
    assert sums_up(first)
    assert sums_up(second)


def test_what_still_cannot_be_read_is_told_again(full: FullResult, table: Table) -> None:
    """The part that was interrupted did not come to tell it."""
    table.run("UPDATE celery_taskmeta SET result = x'800495' WHERE task_id = 'task-03'")
    interrupt(full, table)

    done = full.import_records("celery", table.url)

    assert (done.read, done.new, done.unreadable) == (21, 20, 1)
    assert list(done.problems) == ["task-03"]


def test_what_went_on_meanwhile_is_counted_as_changed(full: FullResult, table: Table) -> None:
    table.run("UPDATE celery_taskmeta SET status = 'STARTED' WHERE task_id = 'task-00'")

    def go_on() -> None:
        table.run("UPDATE celery_taskmeta SET status = 'SUCCESS' WHERE task_id = 'task-00'")

    interrupt(full, table, go_on)

    done = full.import_records("celery", table.url)

    assert (done.read, done.new, done.changed, done.known) == (21, 20, 1, 0)


def test_a_follower_counts_what_comes_and_not_what_it_reads_again(
    full: FullResult, table: Table
) -> None:
    table.add("bad", result=b"\x80\x04\x95")
    table.add("private", name="private.task")
    looks = 0

    def advance(more: int) -> None:
        nonlocal looks
        looks += more == 0
        if looks == 1 and more == 0:
            table.add("new")
            table.add("private, too", name="private.task")
            table.add("bad, too", result=b"\x80\x04\x95")
        if looks == 4:
            raise KeyboardInterrupt

    with job_of(full, table, follow=True, every=timedelta(0)) as job:
        with pytest.raises(KeyboardInterrupt):
            job.run(advance)
        done = job.done

    assert (done.read, done.new, done.skipped, done.unreadable) == (35, 31, 2, 2)
    assert sums_up(done)


def test_a_follower_takes_what_went_on_while_the_rows_were_read(
    full: FullResult, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To read them may take longer than the looks overlap."""
    monkeypatch.setattr("fullresult.importers.importing.OVERLAP", timedelta(0))
    table.run("CREATE INDEX by_date ON celery_taskmeta (date_done)")
    table.run("UPDATE celery_taskmeta SET status = 'STARTED' WHERE task_id = 'task-00'")
    pages = 0

    def advance(_: int) -> None:
        nonlocal pages
        pages += 1
        if pages == 1:
            now = str(datetime.now(timezone.utc).replace(tzinfo=None))
            table.run(
                "UPDATE celery_taskmeta SET status = 'SUCCESS', date_done = ? "
                "WHERE task_id = 'task-00'",
                now,
            )

    wish = {"follow": True, "every": timedelta(0), "until_idle": timedelta(seconds=0.1)}
    with job_of(full, table, batch=5, **wish) as job:
        done = job.run(advance)

    assert (done.new, done.changed) == (30, 1)
    assert full.count(state="SUCCESS") == 30


def test_rows_without_an_id_are_counted_each(full: FullResult, table: Table) -> None:
    table.run("UPDATE celery_taskmeta SET task_id = NULL WHERE id <= 2")

    answer = run(full.app, "import", "--from", "celery", table.url, "--yes")

    assert answer.exit_code == 1
    assert "task row 1: it has no task id" in answer.stderr
    assert "2 rows could not be read" in answer.stderr
    assert full.count() == 28
