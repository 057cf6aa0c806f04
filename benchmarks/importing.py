"""How many rows of other programs become records in a second, end to end."""

from __future__ import annotations

import argparse
import json
import pickle
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

# Run as a script, from anywhere.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg
import pymongo

from benchmarks.places import Places
from tests.kit.original_table import OriginalTable, pickled
from tests.kit.other_results import importing

PROMISED = 5_000
"""Rows a second."""
_CHUNK = 10_000
_META = """
CREATE TABLE celery_taskmeta (
    id serial PRIMARY KEY, task_id varchar(155) UNIQUE, status varchar(50), result bytea,
    date_done timestamp, traceback text, children bytea, name varchar(155), args bytea,
    kwargs bytea, worker varchar(155), retries integer, queue varchar(155), stamps bytea
)
"""
_DJANGO = """
CREATE TABLE django_celery_results_taskresult (
    id serial PRIMARY KEY, task_id varchar(255) UNIQUE, status varchar(50), content_type text,
    content_encoding text, result text, date_done timestamptz, traceback text, meta text,
    task_args text, task_kwargs text, task_name text, worker text, date_created timestamptz,
    periodic_task_name text, date_started timestamptz
)
"""


def _tasks(rows: int) -> Iterator[tuple[str, list[Any], dict[str, Any], Any, datetime]]:
    """Ids, arguments, results and dates of tasks that did a little."""
    began = datetime.now(timezone.utc) - timedelta(days=20)
    for number in range(rows):
        kwargs = {"order_id": number, "currency": "EUR", "lines": [1, 2, 3]}
        when = began + timedelta(seconds=number)
        yield str(uuid4()), [number, "ada"], kwargs, {"charged": number}, when


def _copy(url: str, table: str, columns: str, rows: Iterator[tuple[Any, ...]]) -> None:
    statement = f"COPY {table} ({columns}) FROM STDIN"
    with psycopg.connect(url) as session, session.cursor().copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def celery(url: str, rows: int, *, pickles: bool = False) -> tuple[str, str]:
    with psycopg.connect(url) as session:
        session.execute(_META)
    encode: Callable[[Any], bytes] = pickle.dumps if pickles else _json
    _copy(
        url,
        "celery_taskmeta",
        "task_id, status, result, date_done, children, name, args, kwargs, worker, retries, queue",
        (
            (task_id, "SUCCESS", encode(result), when.replace(tzinfo=None), encode([]),
             "shop.charge", _json(args), _json(kwargs), "celery@host", 0, "celery")
            for task_id, args, kwargs, result, when in _tasks(rows)
        ),
    )  # fmt: skip
    return "celery", url


def celery_pickled(url: str, rows: int) -> tuple[str, str]:
    return celery(url, rows, pickles=True)


def django(url: str, rows: int) -> tuple[str, str]:
    with psycopg.connect(url) as session:
        session.execute(_DJANGO)
    _copy(
        url,
        "django_celery_results_taskresult",
        "task_id, status, content_type, content_encoding, result, date_done, meta, task_args, "
        "task_kwargs, task_name, worker, date_created",
        (
            (task_id, "SUCCESS", "application/json", "utf-8", json.dumps(result), when,
             '{"children": []}', json.dumps(repr(tuple(args))), json.dumps(repr(kwargs)),
             "shop.charge", "celery@host", when)
            for task_id, args, kwargs, result, when in _tasks(rows)
        ),
    )  # fmt: skip
    return "django-celery-results", url


def original(url: str, rows: int) -> tuple[str, str]:
    OriginalTable(url)
    meta = pickled({"children": None}, compressed=True)
    _copy(
        url,
        "celery_taskresultmeta",
        "task_id, task, args, kwargs, status, result, date_submitted, date_done, hidden, meta",
        (
            (task_id, "shop.charge", json.dumps(args), json.dumps(kwargs), "SUCCESS",
             pickled(result), when, when, False, meta)
            for task_id, args, kwargs, result, when in _tasks(rows)
        ),
    )  # fmt: skip
    return "fulldbresult", url


def mongodb(url: str, rows: int) -> tuple[str, str]:
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        found = client.get_default_database()["celery_taskmeta"]
        batch: list[dict[str, Any]] = []
        for task_id, args, kwargs, result, when in _tasks(rows):
            batch.append({
                "_id": task_id, "status": "SUCCESS", "result": json.dumps(result),
                "date_done": when, "traceback": None, "children": [], "name": "shop.charge",
                "args": args, "kwargs": kwargs, "worker": "celery@host", "retries": 0,
                "queue": "celery",
            })  # fmt: skip
            if len(batch) == _CHUNK:
                found.insert_many(batch)
                batch = []
        if batch:
            found.insert_many(batch)
    return "celery", url


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


SOURCES = {
    "celery": ("postgresql", celery),
    "celery, pickled": ("postgresql", celery_pickled),
    "django-celery-results": ("postgresql", django),
    "fulldbresult": ("postgresql", original),
    "celery, mongodb": ("mongodb", mongodb),
}


def measure(place: str, source: str, rows: int) -> list[float]:
    """Rows a second of a first import and of a second one."""
    with ExitStack() as stack:
        places = Places(stack)
        kind, fill = SOURCES[source]
        name, url = fill(stack.enter_context(places.storage(kind)), rows)
        full = importing(stack.enter_context(places.storage(place)))
        stack.callback(full.close)
        full.setup()
        rates = []
        for _ in range(2):
            began = time.perf_counter()
            done = full.import_records(name, url)
            rates.append(rows / (time.perf_counter() - began))
            assert (done.read, done.unreadable) == (rows, 0)
        assert full.count() == rows
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--storage", default="postgresql", help="sqlite, postgresql, mongodb")
    parser.add_argument("--source", choices=SOURCES, action="append")
    given = parser.parse_args()
    for source in given.source or SOURCES:
        first, second = measure(given.storage, source, given.rows)
        short = "" if first >= PROMISED else f"  (promised: {PROMISED:,})"
        print(f"{source:24} {first:8,.0f} rows/s{short}; again {second:8,.0f}")


if __name__ == "__main__":
    main()
