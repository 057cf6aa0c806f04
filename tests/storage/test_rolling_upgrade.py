"""Workers of this version beside a newer one's: its columns and fields do no harm."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pymongo import MongoClient

from fullresult import plugins
from fullresult.config import Settings
from fullresult.record import FAILURE, RETRY, AuditEntry, AuditQuery, Worker, WorkerCard
from fullresult.record.schedule import ScheduleQuery
from fullresult.storage import StorageError, TaskQuery
from fullresult.testing import samples
from fullresult_storage_mongo import indexes
from fullresult_storage_sql import postgresql_schema, sqlite
from tests.kit.counting import end, publish

TABLES = (
    *(
        "task",
        "execution",
        "schedule",
        "sweep",
        "worker",
        "worker_card",
        "worker_names",
        "audit",
        "audit_task",
    ),
    *("group", "chord", "chord_member", "schema"),
)


def opened(url: str, **settings: Any) -> Any:
    known = {"storage": url, "storage_timeout": timedelta(seconds=10), **settings}
    return plugins.open_storage(Settings(**known))


@pytest.fixture(params=["sqlite", "postgresql"])
def sql(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A storage in SQL."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/records.db"
    else:
        url = request.getfixturevalue("postgresql_url")
    with closing(opened(url)) as storage:
        storage.setup()
        yield storage


def live(storage: Any, *, others: int = 0) -> None:
    """Every kind of write there is, and each read of it."""
    publish(storage, "1")
    for state in (RETRY, FAILURE):
        event = samples.event("1", outcome=samples.outcome(state), entries=(samples.entry(state),))
        storage.write([event])
    storage.write([samples.task("2"), samples.task("3", entries=(samples.entry(RETRY),))])
    assert not end(storage, "2")
    schedule = samples.schedule("s")
    storage.schedule(schedule, samples.task("s"))
    storage.schedule(samples.schedule("t"), samples.task("t"))
    assert len(storage.find_schedules(ScheduleQuery())) == 2
    assert len(storage.claim_due(schedule.namespace, schedule.due, "claim", 1)) == 1
    storage.withdraw("u")
    storage.note_sweep("n", samples.NOON)
    storage.note_worker(Worker("w", "w", samples.NOON, samples.NOON, samples.NOON, None))
    storage.note_card(WorkerCard("w", samples.NOON, "n", "{}"), "names")
    storage.keep_audit(AuditEntry("a", samples.NOON, "ada", "cancel", ("1",), {}, "done"))
    storage.save_group("g", b"value", None)

    first = storage.get("1")
    assert first is not None
    assert [entry.state for entry in first.entries] == [RETRY, FAILURE]
    assert len(storage.find(TaskQuery())) == 5 + others
    assert len(storage.find_workers()) == len(storage.find_audit(AuditQuery())) == 1
    assert len(storage.find_cards()) == len(storage.find_names(["n"])) == 1
    assert storage.restore_group("g") == b"value"


@pytest.mark.parametrize("column", ["new text", "new integer NOT NULL DEFAULT 7"])
def test_columns_that_a_newer_version_added_are_left_to_it(sql: Any, column: str) -> None:
    for table in TABLES:
        alter(sql, f"ALTER TABLE fullresult_{table} ADD COLUMN {column}")

    live(sql)


def alter(storage: Any, statement: str) -> None:
    database = vars(storage)["_database"]
    if database.placeholder == "?":
        database.keep(statement, ())
    else:
        with psycopg.connect(repr(database), autocommit=True) as session:
            session.execute(statement.encode())


def test_fields_that_a_newer_version_added_are_left_to_it(mongodb_url: str) -> None:
    with closing(opened(mongodb_url)) as storage, MongoClient[Any](mongodb_url) as client:
        live(storage)
        for name in client.get_default_database().list_collection_names():
            new = {"$set": {"new": {"a": 1}}}
            client.get_default_database()[name].update_many({}, new)

        first = storage.get("1")
        assert [entry.state for entry in first.entries] == [RETRY, FAILURE]
        assert len(storage.find(TaskQuery())) == 5


OLD = Path(__file__).parent / "old_schemas"
_INDEX = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'fullresult_task_expire'::regclass"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any table that is there is a large one."""
    monkeypatch.setattr(postgresql_schema, "LARGE", 0)
    monkeypatch.setattr(sqlite, "LARGE", 0)
    monkeypatch.setattr(indexes, "LARGE", 0)


@pytest.fixture
def old_url(postgresql_url: str) -> str:
    """A database whose tables an older version made."""
    with psycopg.connect(postgresql_url, autocommit=True) as session:
        session.execute((OLD / "postgresql_3.sql").read_bytes())
    return postgresql_url


@pytest.mark.usefixtures("small")
def test_a_large_table_is_not_changed_in_passing(old_url: str) -> None:
    """By a process that needs the new schema: it says what to run, and locks nothing."""
    with closing(opened(old_url)) as storage, psycopg.connect(old_url) as other:
        other.execute("LOCK TABLE fullresult_task IN ROW EXCLUSIVE MODE")
        began = time.monotonic()
        with pytest.raises(StorageError, match="fullresult setup"):
            storage.count(TaskQuery())

        assert time.monotonic() - began < 2
        assert other.execute("SELECT max(version) FROM fullresult_schema").fetchone() == (3,)


def test_a_small_table_is_changed_in_passing(old_url: str) -> None:
    with closing(opened(old_url)) as storage:
        assert storage.count(TaskQuery()) > 0


@pytest.mark.parametrize("version", [1, 3, 4])
@pytest.mark.usefixtures("small")
def test_setup_changes_a_large_table(postgresql_url: str, version: int) -> None:
    with psycopg.connect(postgresql_url, autocommit=True) as session:
        session.execute((OLD / f"postgresql_{version}.sql").read_bytes())
        with closing(opened(postgresql_url)) as storage:
            storage.setup()
            live(storage, others=storage.count(TaskQuery()))

        assert session.execute(_INDEX).fetchone() == (True,)


@pytest.mark.usefixtures("small")
def test_writers_go_on_while_setup_builds_an_index(old_url: str) -> None:
    """It waits for a transaction that wrote before; others do not wait for it."""
    with (
        closing(opened(old_url)) as storage,
        psycopg.connect(old_url) as before,
        psycopg.connect(old_url, autocommit=True) as beside,
        ThreadPoolExecutor(1) as thread,
    ):
        storage.setup()
        beside.execute("DROP INDEX fullresult_task_expire")
        before.execute("UPDATE fullresult_task SET notes = notes")
        setup = thread.submit(storage.setup)
        until(lambda: beside.execute(_BUILDING).fetchone() is not None)

        beside.execute("SET lock_timeout = '1s'")
        beside.execute(
            "INSERT INTO fullresult_task (task_id, date_created, date_updated) "
            "VALUES ('new', now(), now())"
        )

        assert not setup.done()
        before.rollback()
        setup.result(20)
        assert beside.execute(_INDEX).fetchone() == (True,)


_BUILDING = "SELECT 1 FROM pg_stat_progress_create_index WHERE datname = current_database()"


def test_setup_waits_for_a_lock_in_moments_that_others_hardly_notice(old_url: str) -> None:
    """Whoever waits behind one that waits would wait as long."""
    with (
        closing(opened(old_url)) as storage,
        psycopg.connect(old_url) as before,
        psycopg.connect(old_url, autocommit=True) as beside,
        ThreadPoolExecutor(1) as thread,
    ):
        before.execute("UPDATE fullresult_task SET notes = notes")
        setup = thread.submit(storage.setup)
        beside.execute("SET lock_timeout = '3s'")
        for _ in range(20):
            beside.execute("UPDATE fullresult_task SET notes = notes WHERE task_id = 'none'")
            time.sleep(0.1)

        assert not setup.done()
        before.rollback()
        setup.result(20)


@pytest.mark.usefixtures("small")
def test_an_index_that_was_left_unfinished_is_built_again(postgresql_url: str) -> None:
    with (
        closing(opened(postgresql_url)) as storage,
        psycopg.connect(postgresql_url, autocommit=True) as session,
    ):
        storage.setup()
        session.execute(
            "UPDATE pg_index SET indisvalid = false "
            "WHERE indexrelid = 'fullresult_task_expire'::regclass"
        )
        storage.setup()

        assert session.execute(_INDEX).fetchone() == (True,)


@pytest.mark.usefixtures("small")
def test_a_large_file_is_not_changed_in_passing(tmp_path: Path) -> None:
    file = tmp_path / "records.db"
    with closing(sqlite3.connect(file)) as session:
        session.executescript((OLD / "sqlite_4.sql").read_text())
    with closing(opened(f"sqlite:///{file}")) as storage:
        with pytest.raises(StorageError, match="fullresult setup"):
            storage.count(TaskQuery())
        storage.setup()

        assert storage.count(TaskQuery()) > 0


@pytest.mark.usefixtures("small")
def test_a_large_collection_is_not_indexed_in_passing(
    mongodb_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with MongoClient[Any](mongodb_url) as client:
        database = client.get_default_database()
        database["fullresult_task"].insert_one({"_id": "x"})
        database["fullresult_schema"].insert_one({"_id": "schema", "version": 1, "kwargs": []})
        with closing(opened(mongodb_url)) as storage:
            with pytest.raises(StorageError, match="fullresult setup"):
                publish(storage, "a")
            storage.setup()
            publish(storage, "a")
        with closing(opened(mongodb_url, index_kwargs=("order",))) as storage:
            publish(storage, "b")
            assert "argument order" not in database["fullresult_task"].index_information()
            storage.setup()
            assert "argument order" in database["fullresult_task"].index_information()

    assert "fullresult setup" in caplog.text


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
