"""Claiming among few and among many waiting schedules, and after many have come and gone."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import pymongo

from benchmarks.places import make_app
from fullresult.record.schedule import Schedule
from fullresult_storage_mongo.records import schedule_document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from benchmarks.places import Places
    from fullresult.storage import Storage

_NAMESPACE = "benchmark"
_COLUMNS = "schedule_id, task_id, namespace, due, date_scheduled, name, queue, body, headers, how"
_POSTGRESQL = f"""
INSERT INTO fullresult_schedule ({_COLUMNS})
SELECT md5(%(seed)s || n), md5('t' || %(seed)s || n), '{_NAMESPACE}',
    %(first)s::timestamptz + n * interval '1 ms', now(), 'shop.pay', 'celery',
    repeat('x', 200)::bytea, repeat('h', 600), repeat('p', 300)
FROM generate_series(1, %(many)s) n
"""
_SQLITE = f"""
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :many)
INSERT INTO fullresult_schedule ({_COLUMNS})
SELECT hex(randomblob(16)), hex(randomblob(16)), '{_NAMESPACE}',
    strftime('%Y-%m-%dT%H:%M:%f+00:00', julianday(:first) + n / 86400000.0), :first, 'shop.pay',
    'celery', CAST(printf('%.*c', 200, 'x') AS blob), printf('%.*c', 600, 'h'),
    printf('%.*c', 300, 'p')
FROM numbers
"""
_CLAIMS, _SIZE = 30, 100
_BATCH = 5_000


def run(places: Places, storage: str, _broker: str, scale: float) -> Iterator[str]:
    many = max(int(1_000_000 * scale), 5_000)
    with places.storage(storage) as url:
        app = make_app("memory://", url)
        kept = app.fullresult.storage
        past = kept.now() - timedelta(days=30)
        _fill(url, 1_000 + _CLAIMS * _SIZE, past)
        yield f"{storage}: {_SIZE} of 1,000 waiting: {_claim(kept):.2f} ms"
        _fill(url, many, past + timedelta(seconds=10))
        yield f"{storage}: {_SIZE} of {many:,} waiting: {_claim(kept):.2f} ms"
        _drain(kept)
        _fill(url, 1_000 + _CLAIMS * _SIZE, kept.now())
        time.sleep((1_000 + _CLAIMS * _SIZE) / 1000 + 1)  # until all are due, as real ones would be
        yield f"{storage}: {_SIZE} of 1,000, after {many:,} came and went: {_claim(kept):.2f} ms"
        app.fullresult.close()


def _fill(url: str, many: int, first: datetime) -> None:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"), timeout=60)) as connection:
            connection.execute(_SQLITE, {"many": many, "first": f"{first:%Y-%m-%d %H:%M:%S}"})
            connection.commit()
        return
    if url.startswith("mongodb"):
        _fill_mongodb(url, many, first)
        return
    with psycopg.connect(url, autocommit=True) as connection:
        values = {"seed": uuid4().hex, "many": many, "first": first.isoformat()}
        connection.execute(_POSTGRESQL, values)
        connection.execute("ANALYZE fullresult_schedule")


def _fill_mongodb(url: str, many: int, first: datetime) -> None:
    with pymongo.MongoClient[dict[str, Any]](url, w=1) as client:
        schedules = client.get_default_database()["fullresult_schedule"]
        for start in range(1, many + 1, _BATCH):
            numbers = range(start, min(start + _BATCH, many + 1))
            schedules.insert_many([_document(first, number) for number in numbers], ordered=False)


def _document(first: datetime, number: int) -> dict[str, Any]:
    schedule = Schedule(
        schedule_id=uuid4().hex,
        task_id=uuid4().hex,
        namespace=_NAMESPACE,
        due=first + timedelta(milliseconds=number),
        date_scheduled=first,
        name="shop.pay",
        queue="celery",
        body=b"x" * 200,
        headers="h" * 600,
        how="p" * 300,
    )
    return {"_id": schedule.schedule_id, **schedule_document(schedule)}


def _claim(storage: Storage) -> float:
    """Milliseconds a claim takes, the sent ones closed in between."""
    taken = []
    for _ in range(_CLAIMS):
        claim, now = uuid4().hex, storage.now()
        start = time.perf_counter()
        found = storage.claim_due(_NAMESPACE, now, claim, _SIZE)
        taken.append((time.perf_counter() - start) * 1000)
        assert len(found) == _SIZE
        storage.mark_sent(claim, [schedule.schedule_id for schedule in found], [])
    return median(taken)


def _drain(storage: Storage) -> None:
    while True:
        claim = uuid4().hex
        found = storage.claim_due(_NAMESPACE, storage.now(), claim, 1000)
        if not found:
            return
        storage.mark_sent(claim, [schedule.schedule_id for schedule in found], [])
