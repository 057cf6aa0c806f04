"""The bare drivers under measurement: an INSERT for the publisher, two UPDATEs for the worker.

As with the records themselves, the INSERT and the last UPDATE are durable; the first UPDATE, the
start, need not be.
"""

import os
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from uuid import uuid4

import psycopg

from benchmarks.marks import add_mark

Write = Callable[[str, tuple[object, ...]], object]

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


def main(tasks: int, url: str, mode: str) -> None:
    """Measure on a store; *mode* is SQLite's `synchronous` setting for the durable writes."""
    if url.startswith("sqlite:"):
        _on_sqlite(tasks, url, mode)
    else:
        _on_postgresql(tasks, url)


def _on_postgresql(tasks: int, url: str) -> None:
    with (
        psycopg.connect(url, autocommit=True) as durable,
        psycopg.connect(url, autocommit=True) as relaxed,
    ):
        relaxed.execute("SET synchronous_commit = off")
        _measure(tasks, _prepared(durable), _prepared(relaxed))


def _prepared(connection: psycopg.Connection) -> Write:
    cursor = connection.cursor()
    return lambda statement, values: cursor.execute(statement.encode(), values, prepare=True)


def _on_sqlite(tasks: int, url: str, mode: str) -> None:
    path = url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path)) as durable, closing(sqlite3.connect(path)) as relaxed:
        _measure(tasks, _committed(durable, mode), _committed(relaxed, "NORMAL"))


def _committed(connection: sqlite3.Connection, mode: str) -> Write:
    connection.isolation_level = None
    connection.execute(f"PRAGMA synchronous = {mode}")
    return lambda statement, values: connection.execute(statement.replace("%s", "?"), values)


def _measure(tasks: int, durable: Write, relaxed: Write) -> None:
    durable(_CREATE, ())
    task_ids = [str(uuid4()) for _ in range(tasks)]
    add_mark("publisher", os.getpid())
    for task_id in task_ids:
        durable(_INSERT, (task_id, "shop.pay", "PENDING", _MESSAGE))
    add_mark("publisher", os.getpid())
    add_mark("worker", os.getpid())
    for task_id in task_ids:
        relaxed(_START, ("STARTED", "worker@host", task_id))
        durable(_END, ("SUCCESS", _RESULT, task_id))
    add_mark("worker", os.getpid())


if __name__ == "__main__":
    main(int(sys.argv[1]), os.environ["BENCHMARK_STORE"], sys.argv[2])
