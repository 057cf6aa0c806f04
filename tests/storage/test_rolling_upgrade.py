"""Workers of this version beside a newer one's: its columns and fields do no harm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pymongo import MongoClient

from fullresult import plugins
from fullresult.config import Settings
from fullresult.record import FAILURE, RETRY, AuditEntry, AuditQuery, Worker
from fullresult.record.schedule import ScheduleQuery
from fullresult.storage import TaskQuery
from fullresult.testing import samples
from tests.kit.counting import end, publish

TABLES = (
    *("task", "execution", "schedule", "sweep", "worker", "audit", "audit_task"),
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


def live(storage: Any) -> None:
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
    storage.keep_audit(AuditEntry("a", samples.NOON, "ada", "cancel", ("1",), {}, "done"))
    storage.save_group("g", b"value", None)

    first = storage.get("1")
    assert first is not None
    assert [entry.state for entry in first.entries] == [RETRY, FAILURE]
    assert len(storage.find(TaskQuery())) == 5
    assert len(storage.find_workers()) == len(storage.find_audit(AuditQuery())) == 1
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
