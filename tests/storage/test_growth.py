"""What grows has somebody who purges it: each row of the table in docs/databases.md is tried."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import psycopg
import pymongo
import pytest
from celery.app.task import Context

from fullresult import FullResult
from fullresult.record import RETRY
from fullresult.record.audit import AuditEntry
from fullresult.record.card import WorkerCard
from fullresult.record.worker import Worker
from fullresult.recording import heartbeat
from fullresult.storage import purging
from fullresult.testing import pauses, replays, samples
from fullresult.testing.failures import decision
from tests.kit import workers
from tests.kit.scheduling import app_on, overdue, sweep, until

MANY = 12
"""More than two portions of a purge, which are made small."""
PORTION = 5
OLD = datetime(2020, 1, 1, tzinfo=timezone.utc)
SECOND = timedelta(seconds=1)


class Row(NamedTuple):
    """How one row of the table is tried."""

    fill: Callable[[FullResult], object]
    """Stores `MANY` of what grows, which somebody may purge."""
    purges: tuple[Callable[[FullResult], object], ...]
    """Whoever purges it: each alone is enough."""
    left: int = 0
    """The rows that stay in each table, at most."""


def end_tasks(full: FullResult) -> None:
    entry = samples.entry(RETRY)
    for number in range(MANY):
        full.storage.write([samples.task(f"{number}", expire_at=OLD, entries=(entry,))])


def lose_tasks(full: FullResult) -> None:
    """Some stay PENDING, some STARTED, and some were never sent."""
    for number in range(MANY // 3):
        full.app.send_task("shop.charge", task_id=f"pending {number}")
        full.recorder.unsent({"id": f"unsent {number}", "task": "shop.charge"}, OSError("refused"))
        name = f"started {number}"
        request = Context({"id": name, "task": "shop.charge", "args": [], "kwargs": {}})
        full.recorder.started(name, "shop.charge", request)


def retry_without_end(full: FullResult) -> None:
    entries = tuple(samples.entry(RETRY, retries=number) for number in range(1_500))
    full.storage.write([samples.event("a", entries=entries)])


def save_groups(full: FullResult) -> None:
    storage: Any = full.storage
    for number in range(MANY):
        storage.save_group(f"{number}", b"", OLD)


def join_chords(full: FullResult) -> None:
    storage: Any = full.storage
    for number in range(MANY):
        storage.begin_chord(f"{number}", MANY, "body", OLD)
        for member in range(MANY):
            storage.join_chord(f"{number}", f"{member}", MANY, OLD)


def schedule(full: FullResult) -> None:
    for number in range(MANY):
        overdue(full.app, f"{number}", by=SECOND)


def withdraw_one(full: FullResult) -> None:
    full.parts.schedule_storage.withdraw(uuid4().hex)


def withdraw(full: FullResult) -> None:
    for _ in range(MANY):
        withdraw_one(full)
    with stored(full) as tables:
        tables.date_back("fullresult_schedule", "date_withdrawn")


def run_workers(full: FullResult) -> None:
    storage: Any = full.storage
    for number in range(MANY):
        name = f"{number}"
        storage.note_worker(Worker(name, f"w{name}@host", OLD, OLD, OLD, None))
        storage.note_card(WorkerCard(name, OLD, f"n{name}", "{}"), f"names {name}")


def start_a_worker(full: FullResult) -> None:
    beat = heartbeat.Heartbeat(full.storage, "new", "w@host", SECOND)
    beat.start()
    beat.stop(10)


def audit(full: FullResult) -> None:
    storage: Any = full.storage
    for number in range(MANY):
        storage.keep_audit(
            AuditEntry(f"{number}", OLD, "ada", "cancel", ("a", f"{number}"), {}, "done")
        )


def replay(full: FullResult) -> None:
    storage: Any = full.storage
    for number in range(MANY):
        name, some = f"{number}", [replays.taking(f"{number}", 0, f"{number}")]
        storage.keep_replay(replays.replay(name), instead_of=None)
        over = replace(replays.replay(name), state="DONE", version=2)
        # Dated 2026, as samples are: older than a day.
        storage.take_for_replay(over, some, instead_of=1)


def pause(full: FullResult) -> None:
    storage: Any = full.storage
    for number in range(MANY):
        storage.keep_pause(pauses.pause("media", number))


def note_sweeps(full: FullResult) -> None:
    for number in range(MANY):
        full.parts.schedule_storage.note_sweep("shop", OLD + number * SECOND)


def decide(full: FullResult) -> None:
    storage: Any = full.storage
    for number in range(MANY):
        storage.keep_decision(decision("1-x", at=number))


def nothing(full: FullResult) -> None:
    """It is bounded as it is written."""


def purge(full: FullResult) -> None:
    """What beat's task does."""
    until(lambda: full.app.tasks["fullresult.purge"].apply().get() == 0)


def clean_up(full: FullResult) -> None:
    """What `celery.backend_cleanup` does."""
    full.app.backend.cleanup()


def cancel(full: FullResult) -> None:
    for number in range(MANY):
        full.cancel(f"{number}")


def mongodb(full: FullResult) -> None:
    """The server looks for what has expired every second, once its pause of a minute is over."""
    with pymongo.MongoClient[Any](full.settings.storage) as client:
        client.admin.command({"setParameter": 1, "ttlMonitorSleepSecs": 1})


ROWS = {
    "tasks that have ended": Row(end_tasks, (purge, mongodb)),
    "tasks that wait, run or went missing": Row(lose_tasks, (purge, mongodb)),
    "executions of one task": Row(retry_without_end, (nothing,), 1_000),
    "groups": Row(save_groups, (purge, clean_up, mongodb)),
    "chords": Row(join_chords, (purge, clean_up, mongodb)),
    "schedules": Row(schedule, (sweep, cancel)),
    "marks of schedules that were withdrawn": Row(withdraw, (withdraw_one, mongodb), 1),
    "workers": Row(run_workers, (start_a_worker,), 1),
    "audit log": Row(audit, (purge,)),
    "decisions about failures": Row(decide, (nothing,), 1),
    "replays": Row(replay, (purge,)),
    "pauses of queues": Row(pause, (nothing,), 1),
    "sweeps": Row(note_sweeps, (nothing,), 1),
}


_EXECUTIONS = "fullresult_execution"
"""A table of SQL; in MongoDB, a part of each record."""


class Tables:
    """The tables or collections of a storage, as its database has them."""

    def __init__(self, url: str) -> None:
        self._is_mongo = url.startswith("mongodb")
        self._connection: Any = (
            pymongo.MongoClient(url)
            if self._is_mongo
            else psycopg.connect(url, autocommit=True)
            if url.startswith("postgresql")
            else sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        )
        self._is_sqlite = isinstance(self._connection, sqlite3.Connection)

    def close(self) -> None:
        self._connection.close()

    @property
    def names(self) -> set[str]:
        if self._is_mongo:
            found = self._connection.get_default_database().list_collection_names()
            return {*found, _EXECUTIONS}
        asked = (
            "SELECT name FROM sqlite_master WHERE type = 'table'"
            if self._is_sqlite
            else "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'fullresult%'"
        )
        return {row[0] for row in self._connection.execute(asked)}

    def count(self, name: str) -> int:
        if self._is_mongo and name == _EXECUTIONS:
            found = self._connection.get_default_database()["fullresult_task"].find()
            return sum(len(each.get("entries", ())) for each in found)
        if self._is_mongo:
            return int(self._connection.get_default_database()[name].count_documents({}))
        return int(self._connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0])

    def date_back(self, name: str, column: str) -> None:
        if self._is_mongo:
            old = {"$set": {column: OLD}}
            self._connection.get_default_database()[name].update_many({}, old)
        else:
            self._connection.execute(f"UPDATE {name} SET {column} = '{OLD:%Y-%m-%d %H:%M:%S}'")


def stored(full: FullResult) -> closing[Tables]:
    return closing(Tables(full.settings.storage))


def table() -> dict[str, str]:
    """The rows of the page: what grows, and the tables that have it."""
    text = (Path(__file__).parents[2] / "docs" / "databases.md").read_text(encoding="utf-8")
    section = text.partition("\n## What grows\n")[2].partition("\n## ")[0]
    found = re.findall(r"^\| ([^|]+) \| ([^|]+) \|", section, re.MULTILINE)
    return {re.sub(r"\[(.+)\]\(.+\)", r"\1", what): where for what, where in found if "`" in where}


@pytest.fixture(params=workers.storages("sqlite", "postgresql", "mongodb"))
def full(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FullResult]:
    monkeypatch.setattr(purging, "BATCH", PORTION)
    monkeypatch.setattr(purging, "_ENTRIES", PORTION)
    settings = {
        "fullresult_retention": dict.fromkeys(("PENDING", "STARTED", "UNSENT"), 0.001),
        "fullresult_audit_retention": "1d",
        "result_backend": "fullresult://",
    }
    with (
        workers.storage(request.param, request, tmp_path) as url,
        app_on({"broker_url": "memory://"}, url, **settings) as app,
    ):
        yield app.fullresult


def cases() -> Iterator[Any]:
    """Each row on each storage, by each who purges it."""
    for kind in workers.STORAGES:
        for what, row in ROWS.items():
            for by in row.purges:
                if by is mongodb and not kind.startswith("mongodb"):
                    continue
                # Publishers leave the marks to a server that deletes them itself.
                if by is withdraw_one and kind.startswith("mongodb"):
                    continue
                # A server of MongoDB looks once a minute.
                rare = by is mongodb or kind == "mongodb-single"
                marks = pytest.mark.campaign if rare else ()
                yield pytest.param(kind, what, by, marks=marks, id=f"{kind}-{what}-{by.__name__}")


@pytest.mark.parametrize(("full", "what", "by"), [*cases()], indirect=["full"])
def test_what_grows_is_purged(
    full: FullResult, what: str, by: Callable[[FullResult], object]
) -> None:
    row = ROWS[what]
    row.fill(full)
    with stored(full) as tables:
        kept = [name for name in re.findall(r"`(\w+)`", table()[what]) if name in tables.names]
        filled = {name: tables.count(name) for name in kept}

        by(full)

        assert any(filled.values())
        until(lambda: max(map(tables.count, kept)) <= row.left, timeout=90)


def test_each_row_of_the_page_is_tried() -> None:
    assert table().keys() == ROWS.keys()


def test_each_table_is_in_a_row_of_the_page(full: FullResult) -> None:
    known = {name for where in table().values() for name in re.findall(r"`(\w+)`", where)}

    with stored(full) as tables:
        # One row for each version of the schema.
        assert tables.names - {"fullresult_schema"} - known == set()
