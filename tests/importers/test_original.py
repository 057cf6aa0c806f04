"""What django-celery-fulldbresult recorded becomes records; what waits there is sent once."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from fullresult.importers import databases
from fullresult.importers.errors import CannotImport
from tests.kit.commands import run, sent
from tests.kit.original_table import HOUR, OriginalTable, pickled
from tests.kit.other_results import importing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fullresult import FullResult
    from fullresult.importers.importing import Imported


def _table(kind: str, request: pytest.FixtureRequest, directory: Path) -> OriginalTable:
    if kind == "sqlite":
        return OriginalTable(f"sqlite:///{directory}/original.db")
    return OriginalTable(request.getfixturevalue("postgresql_url"))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> OriginalTable:
    return _table(request.param, request, tmp_path)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[FullResult]:
    found = importing(f"sqlite:///{tmp_path}/records.db", fullresult_schedule_eta=True)
    found.setup()
    yield found
    found.close()


def take(full: FullResult, table: OriginalTable) -> Imported:
    return full.import_records("fulldbresult", table.url, take_scheduled=True)


def sweep(full: FullResult) -> list[str]:
    """Send what is due; the ids on the broker."""
    sweeper = full.parts.new_sweeper()
    sweeper.sweep(500)
    sweeper.close()
    return sent(full.app)


# ---- records


def test_a_row_is_a_record_with_its_arguments(full: FullResult, table: OriginalTable) -> None:
    task_id = table.add(
        args=json.dumps([1, "a"]),
        kwargs=json.dumps({"key": None}),
        result=pickled({"total": 3}),
        hostname="w@h",
        routing_key="celery",
        exchange="celery",
    )

    done = full.import_records("fulldbresult", table.url)

    record = full.get(task_id)
    assert (done.new, done.resendable, done.unreadable) == (1, 1, 0)
    assert record is not None
    assert (record.name, record.args, record.kwargs) == ("shop.add", [1, "a"], {"key": None})
    assert (record.state, record.result, record.worker) == ("SUCCESS", {"total": 3}, "w@h")


@pytest.mark.parametrize(
    ("stored", "result"),
    [
        (json.dumps({"a": [1]}), {"a": [1]}),
        (json.dumps({"value": "x", "forced_json": True}), {"value": "x", "forced_json": True}),
        (pickled("text"), "text"),
        (None, None),
    ],
)
def test_a_result_is_json_or_a_pickle(
    full: FullResult, table: OriginalTable, stored: str | None, result: Any
) -> None:
    task_id = table.add(result=stored)

    full.import_records("fulldbresult", table.url)

    record = full.get(task_id)
    assert record is not None
    assert record.result == result


def test_a_pickled_exception_is_its_class_and_its_text(
    full: FullResult, table: OriginalTable
) -> None:
    task_id = table.add(status="FAILURE", result=pickled(ValueError("no")), traceback="Traceback")

    full.import_records("fulldbresult", table.url)

    record = full.get(task_id)
    assert record is not None
    assert (record.exception_type, record.exception_message) == ("ValueError", "no")
    assert record.traceback == "Traceback"


def test_children_are_in_its_meta(full: FullResult, table: OriginalTable) -> None:
    meta = pickled({"children": [(("c1", None), None), (("g", None), [(("c2", None), None)])]},
                   compressed=True)  # fmt: skip
    task_id = table.add(meta=meta)

    full.import_records("fulldbresult", table.url)

    record = full.get(task_id)
    assert record is not None
    assert record.children == ("c1", "c2")


def test_what_was_sent_when_due_is_the_parent_of_the_new_task(
    full: FullResult, table: OriginalTable
) -> None:
    new = str(uuid4())
    old = table.add(status="SCHEDULED_SENT", result=pickled({"new_task_id": new}))
    table.add(task_id=new)

    full.import_records("fulldbresult", table.url)

    first, second = full.get(old), full.get(new)
    assert first is not None
    assert second is not None
    assert (first.state, first.result) == ("SCHEDULED_SENT", {"new_task_id": new})
    assert first.outcome is not None
    assert not first.outcome.open
    assert second.parent_id == old


def test_a_row_that_cannot_be_read_is_named_and_the_others_go_on(
    full: FullResult, table: OriginalTable
) -> None:
    bad, good = table.add(args="no json"), table.add()

    answer = run(full.app, "import", "--from", "fulldbresult", table.url, "--yes")

    assert answer.exit_code == 1
    assert f"task {bad}: its args are no JSON" in answer.stderr
    assert "1 row could not be read" in answer.stderr
    assert full.get(good) is not None
    assert full.get(bad) is None


# ---- taking over


def test_what_waits_there_is_said_and_left_alone(full: FullResult, table: OriginalTable) -> None:
    task_id = table.add_waiting(HOUR)

    answer = run(full.app, "import", "--from", "fulldbresult", table.url, "--yes")

    assert answer.exit_code == 0
    assert "1 task wait" in answer.stderr
    assert not full.scheduled()
    record = full.get(task_id)
    assert record is not None
    assert record.state == "SCHEDULED"


def test_what_waits_is_sent_once_under_its_own_id(full: FullResult, table: OriginalTable) -> None:
    due, later = table.add_waiting(-HOUR), table.add_waiting(HOUR)

    done = take(full, table)

    assert done.taken == 2
    assert table.claim_due() == []
    assert sweep(full) == [due]
    assert [schedule.task_id for schedule in full.scheduled()] == [later]
    record = full.get(due)
    assert record is not None
    assert record.state == "SCHEDULED_SENT"
    assert record.args == [1, 2]


def test_to_take_over_again_sends_nothing_again(full: FullResult, table: OriginalTable) -> None:
    due = table.add_waiting()
    take(full, table)
    assert sweep(full) == [due]
    full.delete(full_query(due))

    done = take(full, table)

    assert done.taken == 0
    assert sweep(full) == []


def full_query(task_id: str) -> Any:
    from fullresult import TaskQuery

    return TaskQuery(text=task_id)


def test_a_dry_run_counts_and_marks_nothing(full: FullResult, table: OriginalTable) -> None:
    due = table.add_waiting()

    done = full.import_records("fulldbresult", table.url, take_scheduled=True, dry_run=True)

    assert done.taken == 1
    assert not full.scheduled()
    assert table.claim_due() == [due]


def test_what_the_original_claimed_is_never_sent_from_here(
    full: FullResult, table: OriginalTable
) -> None:
    stuck = table.add_waiting(-HOUR)
    table.claim_due()
    just_now = table.add_waiting(-timedelta(minutes=1))
    table.claim_due()

    done = take(full, table)

    assert (done.taken, done.uncertain) == (0, [stuck])
    assert sweep(full) == []
    record, other = full.get(stuck), full.get(just_now)
    assert record is not None
    assert record.state == "PENDING"
    assert "perhaps it was sent" in str(record.exception_message)
    assert other is not None
    assert other.state == "SCHEDULED"
    assert [r.task_id for r in full.get_stale_tasks(timedelta(0))] == [stuck]


@pytest.mark.parametrize(
    ("known", "why"),
    [({"args": "no json"}, "no JSON"), ({"task": "private.task"}, "fullresult_ignore")],
)
def test_what_cannot_be_kept_stays_there(
    table: OriginalTable, tmp_path: Path, known: dict[str, Any], why: str
) -> None:
    full = importing(
        f"sqlite:///{tmp_path}/records.db",
        fullresult_schedule_eta=True,
        fullresult_ignore=["private.*"],
    )
    bad, good = table.add_waiting(**known), table.add_waiting()

    done = take(full, table)

    assert done.taken == 1
    assert why in done.problems[bad]
    assert table.claim_due() == [bad]
    assert sweep(full) == [good]
    full.close()


def test_what_the_storage_refuses_stays_there_and_the_others_are_taken_over(
    full: FullResult, table: OriginalTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import that ended at it would leave all others with a mark, and sent by nothing."""
    from fullresult.storage import Refused
    from fullresult_storage_sql.storage import SqlStorage

    bad, good = table.add_waiting(), table.add_waiting()
    real = SqlStorage.schedule

    def refusing(self: SqlStorage, schedule: Any, event: Any) -> Any:
        if schedule.task_id == bad:
            raise Refused("too large")
        return real(self, schedule, event)

    monkeypatch.setattr(SqlStorage, "schedule", refusing)

    done = take(full, table)

    assert (done.taken, done.problems) == (1, {bad: "it stays there: too large"})
    assert table.claim_due() == [bad]
    assert sweep(full) == [good]


def test_hidden_arguments_are_not_taken_over(table: OriginalTable, tmp_path: Path) -> None:
    full = importing(
        f"sqlite:///{tmp_path}/records.db",
        fullresult_schedule_eta=True,
        fullresult_redact=["password"],
    )
    hidden = table.add_waiting(kwargs=json.dumps({"password": "secret"}))

    done = take(full, table)

    assert done.taken == 0
    assert "stays there" in done.problems[hidden]
    assert table.claim_due() == [hidden]
    full.close()


def test_nothing_is_taken_over_where_nothing_would_send_it(
    table: OriginalTable, tmp_path: Path
) -> None:
    full = importing(f"sqlite:///{tmp_path}/records.db")
    waiting = table.add_waiting()

    with pytest.raises(CannotImport, match="fullresult_schedule_eta"):
        take(full, table)

    assert table.claim_due() == [waiting]
    full.close()


class Died(BaseException):
    """The process is gone."""


def dying(monkeypatch: pytest.MonkeyPatch, after: int, *, before_it_is_done: bool) -> list[str]:
    """Have the process die at the call *after* of a storage or of the source that changes one."""
    from fullresult_storage_sql.storage import SqlStorage

    calls: list[str] = []

    def watched(kind: type, name: str) -> None:
        real = getattr(kind, name)

        def call(self: Any, *given: Any, **known: Any) -> Any:
            calls.append(name)
            if before_it_is_done and len(calls) == after:
                raise Died
            answer = real(self, *given, **known)
            if len(calls) == after:
                raise Died
            return answer

        monkeypatch.setattr(kind, name, call)

    for kind in (databases.SQLite, databases.PostgreSQL):
        watched(kind, "change")
    watched(SqlStorage, "schedule")
    return calls


@pytest.mark.parametrize("before_it_is_done", [True, False], ids=["before", "afterwards"])
@pytest.mark.parametrize("after", range(1, 6))
@pytest.mark.parametrize("swept", [True, False], ids=["swept", "not swept"])
def test_an_import_that_dies_anywhere_loses_nothing_and_sends_nothing_twice(
    full: FullResult,
    table: OriginalTable,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
    before_it_is_done: bool,
    swept: bool,
) -> None:
    """Two tasks: one change marks both, then each has a schedule made and its row marked."""
    waiting = sorted([table.add_waiting(), table.add_waiting()])
    with monkeypatch.context() as patch:
        dying(patch, after, before_it_is_done=before_it_is_done)
        with pytest.raises(Died):
            take(full, table)
    on_the_broker = sweep(full) if swept else []

    by_the_original = table.claim_due()
    take(full, table)

    on_the_broker += sweep(full)
    assert sorted(on_the_broker + by_the_original) == waiting


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_original_and_two_imports_at_once_send_each_task_once(
    full: FullResult, request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    table = _table(kind, request, tmp_path)
    waiting = sorted(table.add_waiting() for _ in range(20))
    start = threading.Barrier(3)

    def original() -> list[str]:
        start.wait(30)
        return table.claim_due()

    def imported() -> list[str]:
        start.wait(30)
        take(full, table)
        return []

    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(each) for each in (original, imported, imported)]
        by_the_original = [task_id for job in jobs for task_id in job.result(60)]

    assert sorted(by_the_original + sweep(full)) == waiting
