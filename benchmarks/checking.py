"""How long `check` looks at a million open tasks, and what memory it takes."""

from __future__ import annotations

import argparse
import json
import resource
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from uuid import uuid4

# Run as a script, from anywhere.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg
import pymongo
from celery import Celery

from benchmarks.places import Places
from fullresult import FullResult
from fullresult.record import Message, Outcome, TaskRecord
from fullresult.storage import Storage

STORAGES = ("postgresql", "sqlite", "mongodb")
PROMISED = 15.0
"""Seconds for a million."""
_SEEDS = 10_000
"""Tasks that are written; the database itself makes copies of them, under other ids."""
_SPAN = timedelta(days=20)
"""From the first of all to the last."""
_NONE = timedelta(0)
_LINK = {"task": "shop.charge_1", "args": [], "kwargs": {"order_id": 1}, "options": {},
         "subtask_type": None, "immutable": False}  # fmt: skip
# Each copy is as much newer as all seeds are long, as tasks are written in the order of time.
_LATER = {
    "sqlite": (
        "strftime('%Y-%m-%dT%H:%M:%f+00:00', t.date_created, '+' || ({s} * n.k) || ' seconds')"
    ),
    "postgresql": "t.date_created + n.k * interval '{s} seconds'",
}
_COLUMNS = """
SELECT column_name FROM information_schema.columns
WHERE table_name = 'fullresult_task' AND is_generated = 'NEVER'
"""
_COPY = """
INSERT INTO fullresult_task (task_id, date_created, {others})
WITH RECURSIVE n (k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < {copies})
SELECT t.task_id || '-' || n.k, {date}, {others} FROM fullresult_task AS t, n
ORDER BY n.k, t.date_created
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storage", choices=STORAGES, default="postgresql")
    parser.add_argument("--rows", type=int, default=1_000_000, help="a multiple of 10,000")
    parser.add_argument("--url", help="an empty storage to fill and keep, or one that is filled")
    asked = parser.parse_args()
    with ExitStack() as stack:
        url = asked.url or stack.enter_context(Places(stack).storage(asked.storage))
        full = _app(url).fullresult
        stack.callback(full.close)
        full.setup()
        if not full.find(limit=1):
            _fill(full.storage, url, asked.rows)
        full.check(recent=_NONE)  # what is imported and connected is no part of the price
        before = _memory()
        began = time.perf_counter()
        findings = full.check(recent=_NONE)
        took = time.perf_counter() - began
    promised = PROMISED * findings.checked / 1e6
    print(f"{findings.checked:,} open tasks: {took:.1f} s (promised: {promised:.1f}), ", end="")
    print(f"{_memory() - before:+,} MB, {len(findings.found)} findings")


def _app(url: str) -> Celery:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.fullresult_storage = url
    FullResult(app)
    for number in range(50):
        app.task(name=f"shop.charge_{number}", shared=False)(_charge)
    return app


def _charge(first: int, order_id: int, currency: str = "EUR") -> None:
    pass


def _fill(storage: Storage, url: str, rows: int) -> None:
    seeds = min(rows, _SEEDS)
    span = _SPAN * seeds // rows
    events = [*_tasks(seeds, span)]
    for start in range(0, len(events), 500):
        storage.write(events[start : start + 500])
    copies = rows // len(events) - 1
    if not copies:
        return
    if url.startswith("mongodb"):
        _copy_in_mongodb(url, copies, span)
    elif url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database, database:
            # Without the generated columns.
            found = database.execute("SELECT name FROM pragma_table_info('fullresult_task')")
            database.execute(_copying("sqlite", [name for (name,) in found], copies, span))
    else:
        with psycopg.connect(url, autocommit=True) as session:
            found = session.execute(_COLUMNS).fetchall()
            copy = _copying("postgresql", [name for (name,) in found], copies, span)
            session.execute(copy)  # type: ignore[arg-type]
            session.execute("VACUUM ANALYZE fullresult_task")


def _copying(kind: str, columns: list[str], copies: int, span: timedelta) -> str:
    others = ", ".join(f'"{each}"' for each in columns if each not in ("task_id", "date_created"))
    date = _LATER[kind].format(s=span.total_seconds())
    return _COPY.format(others=others, copies=copies, date=date)


def _copy_in_mongodb(url: str, copies: int, span: timedelta) -> None:
    with pymongo.MongoClient[dict[str, object]](url) as client:
        database = client.get_default_database()
        database["fullresult_task"].aggregate([{"$out": "seeds"}])
        for number in range(copies):
            later = {"$add": ["$date_created", (number + 1) * span // timedelta(milliseconds=1)]}
            copy = {"$set": {"_id": {"$concat": ["$_id", f"-{number}"]}, "date_created": later}}
            database["seeds"].aggregate([copy, {"$merge": {"into": "fullresult_task"}}])
        database["seeds"].drop()


def _tasks(number: int, span: timedelta) -> Iterator[TaskRecord]:
    """Open tasks of 50 names with a few arguments; one in a hundred carries a link."""
    begin = datetime.now(timezone.utc) - _SPAN
    for each in range(number):
        created = begin + span * each / number
        task_id, name = uuid4().hex, f"shop.charge_{each % 50}"
        kwargs = {"order_id": each, "currency": "EUR"}
        links = {"callbacks": [_LINK] if each % 100 == 0 else None, "chord": None}
        stamp = f"00000000020{each:022x}"
        message = Message._make([None] * len(Message._fields))._replace(
            stamp=stamp,
            name=name,
            args="[1]",
            kwargs=json.dumps(kwargs),
            body=json.dumps([[1], kwargs, links]).encode(),
            content_type="application/json",
            content_encoding="utf-8",
            headers=json.dumps({"lang": "py", "task": name, "id": task_id}),
            properties='{"delivery_mode": 2}',
            exchange="",
            routing_key="celery",
            queue="celery",
            root_id=task_id,
        )
        outcome = Outcome._make([None] * len(Outcome._fields))._replace(
            stamp=stamp, state="PENDING", open=True, retries=0, stale_from=created
        )
        yield TaskRecord(task_id, created, created, created, outcome, message)


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
