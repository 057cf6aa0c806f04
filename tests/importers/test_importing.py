"""An import beside live workers, interrupted, followed, redacted, and as a command.

Long because its sections share the sources, whose tables the real packages write.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from contextlib import closing, suppress
from datetime import datetime, timedelta, timezone
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import pytest
from celery.app.task import Context
from hypothesis import given, settings
from hypothesis import strategies as st

from fullresult.actions.audit import actor_here
from fullresult.importers.deed import Import, Wish
from fullresult.importers.events import Events
from fullresult.importers.routes import Routes
from fullresult.importers.row import Row
from fullresult.importers.source import OVERLAP
from fullresult.importers.values import Given
from fullresult.record import TaskRecord, merge
from fullresult.recording.message import Call, serialise
from fullresult.storage import StorageError
from tests.kit.celery_table import Table
from tests.kit.commands import on_a_terminal, run
from tests.kit.other_results import importing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fullresult import FullResult

NOW = datetime(2026, 1, 31, 14, tzinfo=timezone.utc)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path / "results.db")


@pytest.fixture
def full(tmp_path: Path) -> Iterator[FullResult]:
    found = importing(f"sqlite:///{tmp_path}/records.db")
    yield found
    found.close()


def job_of(full: FullResult, table: Table, **known: Any) -> closing[Import]:
    return closing(full.importing(Wish("celery", table.url, **known), actor_here("python")))


# ---- beside what is recorded here


def _row(state: str, retries: int) -> Row:
    failed = {} if state == "SUCCESS" else {"exception_type": "E", "exception_message": "theirs"}
    return Row(
        "id",
        state,
        changed=NOW,
        name="shop.add",
        args=Given([1], exact=True),
        kwargs=Given({}, exact=True),
        result=Given("theirs", exact=True),
        retries=retries,
        **failed,  # type: ignore[arg-type]
    )


def _recorded(full: FullResult) -> list[TaskRecord]:
    """The events of a real publish, start and success."""
    events: list[TaskRecord] = []
    recorder = full.recorder
    recorder.writer.storage = _Kept(events)  # type: ignore[assignment]
    recorder.writer._overlapping = None
    body: Any = ([1], {}, None)
    headers = {"id": "id", "task": "shop.add", "retries": 0, "root_id": "ours"}
    how = {"headers": headers, "routing_key": "celery", "priority": 7}
    recorder.publishing(Call(body, serialise(body, "json"), how))()
    request = Context(id="id", args=[1], kwargs={}, retries=0, hostname="w@h")
    recorder.started("id", "shop.add", request)
    recorder.succeeded(request, "shop.add", "ours", 0.1, ignored=False)
    return events


class _Kept:
    def __init__(self, events: list[TaskRecord]) -> None:
        self._events = events

    def write(self, events: list[TaskRecord]) -> list[str]:
        self._events.extend(events)
        return []


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(["PENDING", "RECEIVED", "STARTED", "PROGRESS", "RETRY", "FAILURE", "SUCCESS"]),
    st.integers(0, 5),
    st.permutations(range(4)),
)
def test_what_was_recorded_here_counts_whatever_comes_first(
    state: str, retries: int, order: list[int]
) -> None:
    full = importing("sqlite:///unused.db")
    made = Events("celery", "much", full.settings, None, Routes(full.app))
    own = _recorded(full)
    events = [*own, made.of(_row(state, retries if state != "SUCCESS" else 0), None, NOW)]

    merged = events[order[0]]
    for index in order[1:]:
        merged = merge(merged, events[index])

    assert merged.message == own[0].message
    assert merged.priority == 7
    assert merged.start == own[1].start
    if not retries or state == "SUCCESS":
        assert (merged.state, merged.result) == ("SUCCESS", "ours")


def test_a_real_publish_takes_an_imported_end(full: FullResult, table: Table) -> None:
    table.add("task-1")
    full.import_records("celery", table.url)
    body: Any = ([1, 2], {}, None)
    how = {"headers": {"id": "task-1", "task": "shop.add"}, "priority": 7}

    full.recorder.publishing(Call(body, serialise(body, "json"), how))()

    record = full.get("task-1")
    assert record is not None
    assert (record.state, record.result, record.priority) == ("SUCCESS", 1, 7)
    assert record.notes == {}


def test_a_row_that_went_on_is_taken_anew(full: FullResult, table: Table) -> None:
    table.add("task-1", status="STARTED", result=None)
    full.import_records("celery", table.url)
    table.run("UPDATE celery_taskmeta SET status = 'SUCCESS', result = '7'")

    done = full.import_records("celery", table.url)

    record = full.get("task-1")
    assert (done.new, done.changed) == (0, 1)
    assert record is not None
    assert (record.state, record.result) == ("SUCCESS", 7)


# ---- your rules


def test_rules_are_applied_as_to_what_is_recorded_here(table: Table, tmp_path: Path) -> None:
    full = importing(
        f"sqlite:///{tmp_path}/records.db",
        fullresult_redact=["password"],
        fullresult_ignore=["private.*"],
        fullresult_retention={"SUCCESS": "1d"},
    )
    secret = {"kwargs": b'{"password": "hunter2"}'}
    failed = b'{"exc_type": "E", "exc_message": ["no hunter2"], "exc_module": "shop"}'
    table.add("hidden", **secret, result=b'{"password": "hunter2"}')
    table.add("failed", **secret, status="FAILURE", result=failed, traceback="hunter2")
    table.add("private", name="private.task")
    table.add("old", date_done="2020-01-01 00:00:00.000000")

    done = full.import_records("celery", table.url)

    assert (done.new, done.skipped) == (2, 2)
    hidden, error = full.get("hidden"), full.get("failed")
    assert hidden is not None
    assert error is not None
    assert hidden.kwargs == {"password": "[redacted]"}
    assert error.exception_type == "shop.E"
    assert b"hunter2" not in (tmp_path / "records.db").read_bytes()
    full.close()


@pytest.mark.parametrize("args", ["('hunter2', <Object>)", "('hunter2'...)"])
def test_a_text_of_arguments_is_hidden_whole_if_a_rule_looks_for_some(
    tmp_path: Path, args: str
) -> None:
    full = importing(f"sqlite:///{tmp_path}/r.db", fullresult_redact=["password"])
    made = Events("flower", "much", full.settings, full.recorder.redactor, Routes(full.app))
    row = Row(
        "id", "FAILURE", changed=NOW, name="shop.add", args=Given(text=args),
        kwargs=Given({}, exact=True), exception_message="hunter2", traceback="hunter2",
    )  # fmt: skip

    event = made.of(row, None, NOW)

    assert "hunter2" not in repr(event.message)
    assert "hunter2" not in repr(event.outcome)


# ---- rows that cannot be read


def test_pickles_of_code_are_named_and_never_loaded(full: FullResult, table: Table) -> None:
    evil = b"\x80\x02cos\nsystem\nX\x15\x00\x00\x00touch /tmp/imported-1\x85R."
    table.add("evil", result=evil)
    table.add("broken", result=b"\x80\x04\x95")
    table.add("good")

    done = full.import_records("celery", table.url)

    record = full.get("evil")
    assert (done.new, done.unreadable) == (2, 1)
    assert "its result: a broken pickle" in done.problems["broken"]
    assert record is not None
    assert record.result == "<pickled os.system: not read>"


@pytest.mark.parametrize(
    ("column", "value"), [("children", b"\x80\x04\x95"), ("args", b"[1"), ("date_done", "a day")]
)
def test_a_row_that_cannot_be_read_names_its_column(
    full: FullResult, table: Table, column: str, value: Any
) -> None:
    table.add("bad", **{column: value})

    done = full.import_records("celery", table.url)

    assert done.problems["bad"].startswith(f"its {column}")


def test_what_the_storage_refuses_is_named_and_the_others_go_on(
    full: FullResult, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fullresult.storage import Refused
    from fullresult_storage_sql.storage import SqlStorage

    write = SqlStorage.write

    def refusing(self: SqlStorage, events: list[TaskRecord]) -> Any:
        if any(event.task_id == "bad" for event in events):
            raise Refused("too large")
        return write(self, events)

    monkeypatch.setattr(SqlStorage, "write", refusing)
    for task_id in ("a", "bad", "z"):
        table.add(task_id)

    done = full.import_records("celery", table.url)

    assert (done.new, done.unreadable, done.problems) == (2, 1, {"bad": "too large"})
    assert full.count() == 2


# ---- interrupted, and followed


def test_an_interrupted_import_is_gone_on_with(full: FullResult, table: Table) -> None:
    for number in range(30):
        table.add(f"task-{number:02d}")
    seen = 0

    def advance(more: int) -> None:
        nonlocal seen
        seen += more
        if seen == 20:
            table.run("UPDATE celery_taskmeta SET status = 'FAILURE' WHERE task_id = 'task-00'")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        full.import_records("celery", table.url, batch=5, advance=advance)
    assert full.count() == 20

    done = full.import_records("celery", table.url, batch=5)

    entries = full.audit_log(action="import")
    assert full.count() == 30
    assert done.new == 10
    assert [entry.outcome for entry in entries] == ["done", "interrupted"]
    assert entries[1].details["read"] == 20
    with job_of(full, table) as job:
        assert job.interrupted is None


def test_an_import_goes_on_from_a_page_that_failed_though_later_ones_were_written(
    full: FullResult, table: Table, tmp_path: Path
) -> None:
    for number in range(30):
        table.add(f"task-{number:02d}", date_done="2026-01-01 12:00:00")
    full.setup()
    with closing(sqlite3.connect(tmp_path / "records.db", timeout=30)) as database:
        database.execute(
            """CREATE TRIGGER broken BEFORE INSERT ON fullresult_task WHEN new.task_id = 'task-03'
            BEGIN SELECT json_extract('{', '$'); END"""
        )
        with pytest.raises(StorageError, match="malformed JSON"):
            full.import_records("celery", table.url, batch=5)
        assert 0 < full.count() < 30
        database.execute("DROP TRIGGER broken")

    full.import_records("celery", table.url, batch=5)

    assert full.count() == 30


def test_what_went_on_while_an_import_was_interrupted_is_taken(
    full: FullResult, table: Table
) -> None:
    """The table has no index of dates, and only the first import knew which rows were open."""
    for number in range(600):
        table.add(f"task-{number:03d}", status="STARTED", result=None)

    def advance(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        full.import_records("celery", table.url, batch=20, advance=advance)
    ended = str(datetime.now(timezone.utc).replace(tzinfo=None))
    table.run(
        "UPDATE celery_taskmeta SET status = 'SUCCESS', result = '1', date_done = ? "
        "WHERE task_id = 'task-000'",
        ended,
    )

    full.import_records("celery", table.url)

    record = full.get("task-000")
    assert record is not None
    assert record.state == "SUCCESS"


def test_a_follower_takes_what_comes_and_what_goes_on(full: FullResult, table: Table) -> None:
    table.add("old", status="STARTED", result=None)
    over = Event()

    def advance(_: int) -> None:
        if over.is_set():
            raise KeyboardInterrupt

    with job_of(full, table, follow=True, every=timedelta(seconds=0.05)) as job:

        def follow() -> None:
            with suppress(KeyboardInterrupt):
                job.run(advance)

        thread = Thread(target=follow)
        thread.start()
        _eventually(lambda: full.get("old") is not None)
        table.add("new", status="STARTED", result=None)
        table.run("UPDATE celery_taskmeta SET status = 'SUCCESS' WHERE task_id = 'old'")
        _eventually(lambda: full.count(state="SUCCESS") == 1 and full.count() == 2)
        table.run("UPDATE celery_taskmeta SET status = 'SUCCESS' WHERE task_id = 'new'")
        _eventually(lambda: full.count(state="SUCCESS") == 2)
        over.set()
        thread.join(60)
    assert not thread.is_alive()
    assert [entry.outcome for entry in full.audit_log(action="import")] == ["done"]


def test_a_follower_ends_when_nothing_changes(full: FullResult, table: Table) -> None:
    table.add("old")
    wish = {"follow": True, "every": timedelta(0), "until_idle": timedelta(seconds=0.1)}

    with job_of(full, table, **wish) as job:
        done = job.run()

    assert (done.new, done.finished) == (1, True)


def _eventually(holds: Any) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_follower_uses_an_index_of_dates(full: FullResult, table: Table) -> None:
    table.run("CREATE INDEX by_date ON celery_taskmeta (date_done)")
    table.add("old", date_done="2020-01-01 00:00:00.000000")
    table.add("new")
    with job_of(full, table) as job:
        source = job._source

        pages = list(source.changed(datetime.now(timezone.utc) - OVERLAP))

    assert [[row.task_id for row in page] for page in pages] == [["new"]]


def test_only_what_changed_since_is_read(full: FullResult, table: Table) -> None:
    table.add("old", date_done="2026-01-31 13:59:59.000000")
    table.add("new", date_done="2026-01-31 14:00:01.000000")

    done = full.import_records("celery", table.url, since=NOW)

    assert done.read == 1
    record = full.get("new")
    assert record is not None
    assert record.date_done == NOW + timedelta(seconds=1)


# ---- the command


def test_resend_says_what_is_not_known(full: FullResult, table: Table) -> None:
    table.add("task-1")
    full.import_records("celery", table.url)

    by_id = run(full.app, "resend", "task-1", answer="n")
    by_filter = run(full.app, "resend", "--state", "SUCCESS", answer="n")

    for answer in (by_id, by_filter):
        assert "Some were imported from celery; not known: links, headers" in answer.stderr


def test_the_command_asks_and_says_what_it_did(full: FullResult, table: Table) -> None:
    table.add("task-1")

    refused = run(full.app, "import", "--from", "celery", table.url, answer="n")
    done = run(full.app, "import", "--from", "celery", table.url, answer="y")

    assert (refused.exit_code, full.count()) == (1, 1)
    assert "About to import 1 row of sqlite:///" in refused.stderr
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "1 row read: 1 new, 0 changed, 0 known, 0 left out, 0 unreadable",
        "States: 1 SUCCESS; 1 can be sent again",
    ]


def test_the_command_says_once_which_rows_cannot_be_read(
    full: FullResult, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody logs, Python itself prints warnings."""
    table.add("bad", result=b"\x80\x04\x95")
    monkeypatch.setattr(logging.getLogger(), "handlers", [])

    answer = run(full.app, "import", "--from", "celery", table.url, "--yes")

    assert [line for line in answer.stderr.splitlines() if "bad" in line] == [
        "task bad: its result: a broken pickle: ValueError"
    ]
    assert answer.exit_code == 1


def test_the_command_prints_json(full: FullResult, table: Table) -> None:
    table.add("task-1")

    answer = run(full.app, "import", "--from", "celery", table.url, "--dry-run", "--json")

    said = json.loads(answer.stdout)
    assert (said["read"], said["new"], said["dry_run"], said["states"]) == (
        1,
        1,
        True,
        {"SUCCESS": 1},
    )
    assert full.count() == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--from", "celery", "sqlite:////none/x.db"], 1, "there is no file"),
        (["--from", "nothing"], 2, "backend"),
        (["--until-idle", "1h"], 2, "--follow"),
        (["--take-scheduled"], 2, "--from fulldbresult"),
        (["--timezone", "Nowhere/None"], 2, "no time zone"),
    ],
)
def test_a_wrong_line_says_what_is_wrong(
    full: FullResult, words: list[str], code: int, said: str
) -> None:
    answer = run(full.app, "import", "--yes", *words)

    assert answer.exit_code == code
    assert said in answer.stderr


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:hunter2@127.0.0.1:1/shop",
        "postgresql://ada:%hunter2@127.0.0.1:1/shop",
        "postgresql://ada:a hunter2@127.0.0.1:1/shop",
        "postgresql://ada:a/hunter2@127.0.0.1:1/shop",
        "postgresql://127.0.0.1:hunter2/shop",
        "mysql://127.0.0.1:hunter2/shop",
        "mongodb://ada:a/hunter2@127.0.0.1:1/shop",
    ],
)
def test_a_password_is_never_shown(full: FullResult, url: str) -> None:
    answer = run(full.app, "import", "--from", "celery", url, "--yes")

    assert answer.exit_code == 1
    assert isinstance(answer.exception, SystemExit)
    assert "hunter2" not in answer.output
    assert ":***" in answer.stderr


def test_on_a_terminal_a_bar_shows_how_far_it_is(table: Table, tmp_path: Path) -> None:
    for number in range(20):
        table.add(f"task-{number}")
    (tmp_path / "proj.py").write_text(
        "from celery import Celery\nfrom fullresult import FullResult\n"
        f"app = Celery('proj')\napp.conf.fullresult_storage = 'sqlite:///{tmp_path}/r.db'\n"
        "FullResult(app)\n"
    )

    shown = on_a_terminal(
        tmp_path, "-A", "proj", "fullresult", "import", "--from", "celery", table.url,
        "--batch", "5", "--yes",
    )  # fmt: skip

    assert "20/20" in shown
    assert "rows/s" in shown
    assert "20 rows read: 20 new" in shown
