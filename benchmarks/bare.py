"""The bare drivers under measurement: an INSERT for the publisher, two UPDATEs for the worker.

For each number read, writes that many rows; answers with the readings before the INSERTs,
between, and after the UPDATEs. As with the records themselves, the INSERT and the last UPDATE
are durable; the first UPDATE, the start, need not be, and on MongoDB the INSERT neither.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from typing import Any, NamedTuple
from uuid import uuid4

import psycopg
import pymongo

from benchmarks.meter import Reading

Write = Callable[[str, tuple[object, ...]], object]


class Bare(NamedTuple):
    """What is done to one row; each is given its id."""

    insert: Callable[[str], object]
    start: Callable[[str], object]
    end: Callable[[str], object]


_CREATE = """
CREATE TABLE bare (
    task_id text PRIMARY KEY, name text, state text, message text, worker text, result text
)
"""
_INSERT = "INSERT INTO bare (task_id, name, state, message) VALUES (%s, %s, %s, %s)"
_START = "UPDATE bare SET state = %s, worker = %s WHERE task_id = %s"
_END = "UPDATE bare SET state = %s, result = %s WHERE task_id = %s"
_MESSAGE = "x" * 300
_RESULT = '{"order_id": 7, "paid": "12.50", "currency": "EUR"}'


def main(url: str, synchronous: str) -> None:
    """Serve a store; *synchronous* is SQLite's setting for the durable writes."""
    if url.startswith("sqlite:"):
        _on_sqlite(url, synchronous)
    elif url.startswith("mongodb:"):
        _on_mongodb(url)
    else:
        _on_postgresql(url)


def _on_postgresql(url: str) -> None:
    with (
        psycopg.connect(url, autocommit=True) as durable,
        psycopg.connect(url, autocommit=True) as relaxed,
    ):
        relaxed.execute("SET synchronous_commit = off")
        _serve(_in_sql(_prepared(durable), _prepared(relaxed)))


def _prepared(connection: psycopg.Connection) -> Write:
    cursor = connection.cursor()
    return lambda statement, values: cursor.execute(statement.encode(), values, prepare=True)


def _on_sqlite(url: str, synchronous: str) -> None:
    path = url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as durable, closing(sqlite3.connect(path)) as relaxed:
        _serve(_in_sql(_committed(durable, synchronous), _committed(relaxed, "NORMAL")))


def _committed(connection: sqlite3.Connection, synchronous: str) -> Write:
    connection.isolation_level = None
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    return lambda statement, values: connection.execute(statement.replace("%s", "?"), values)


def _in_sql(durable: Write, relaxed: Write) -> Bare:
    durable(_CREATE, ())
    return Bare(
        lambda task_id: durable(_INSERT, (task_id, "shop.pay", "PENDING", _MESSAGE)),
        lambda task_id: relaxed(_START, ("STARTED", "worker@host", task_id)),
        lambda task_id: durable(_END, ("SUCCESS", _RESULT, task_id)),
    )


def _on_mongodb(url: str) -> None:
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        rows = client.get_default_database()["bare"]
        relaxed = rows.with_options(write_concern=pymongo.WriteConcern(w=1))
        durable = rows.with_options(write_concern=pymongo.WriteConcern(w="majority", j=True))
        row = {"name": "shop.pay", "state": "PENDING", "message": _MESSAGE}
        start = {"$set": {"state": "STARTED", "worker": "worker@host"}}
        end = {"$set": {"state": "SUCCESS", "result": _RESULT}}
        _serve(
            Bare(
                lambda task_id: relaxed.insert_one({"_id": task_id, **row}),
                lambda task_id: relaxed.update_one({"_id": task_id}, start),
                lambda task_id: durable.update_one({"_id": task_id}, end),
            )
        )


def _serve(bare: Bare) -> None:
    for line in sys.stdin:
        readings = _measure([str(uuid4()) for _ in range(int(line))], bare)
        print(*(reading.to_json() for reading in readings), sep="\n", flush=True)


def _measure(task_ids: list[str], bare: Bare) -> list[Reading]:
    readings = [Reading.now(os.getpid())]
    for task_id in task_ids:
        bare.insert(task_id)
    readings.append(Reading.now(os.getpid()))
    for task_id in task_ids:
        bare.start(task_id)
        bare.end(task_id)
    readings.append(Reading.now(os.getpid()))
    return readings


if __name__ == "__main__":
    main(os.environ["BENCHMARK_STORE"], sys.argv[1])
