"""The table of django-celery-fulldbresult 0.5.3, as its migrations make it and it fills it.

The program itself runs on Django 1.9 at most, so its rows are made here as its fields make them.
"""

from __future__ import annotations

import base64
import json
import pickle
import sqlite3
import zlib
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import psycopg

_COLUMNS = """
    id {key}, task_id varchar(255) NOT NULL UNIQUE, task varchar(200) NOT NULL,
    args text NOT NULL, kwargs text NOT NULL, hostname varchar(255) NULL,
    exchange varchar(200) NULL, routing_key varchar(200) NULL, expires {date} NULL,
    status varchar(50) NOT NULL, result text NULL, date_submitted {date} NULL,
    date_done {date} NOT NULL, traceback text NULL, hidden bool NOT NULL, meta text NULL,
    eta {date} NULL, scheduled_id {uuid} NULL
"""
_SQLITE = {"key": "integer PRIMARY KEY AUTOINCREMENT", "date": "datetime", "uuid": "char(32)"}
_POSTGRESQL = {"key": "serial PRIMARY KEY", "date": "timestamp with time zone", "uuid": "uuid"}
HOUR = timedelta(hours=1)


def pickled(value: Any, *, compressed: bool = False) -> str:
    """As djcelery's `PickledObjectField` keeps *value*."""
    data = pickle.dumps(value, 2)
    return base64.b64encode(zlib.compress(data) if compressed else data).decode()


class OriginalTable:
    """One table, in SQLite or PostgreSQL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._is_sqlite = url.startswith("sqlite")
        kinds = _SQLITE if self._is_sqlite else _POSTGRESQL
        self.run(f"CREATE TABLE celery_taskresultmeta ({_COLUMNS.format(**kinds)})")

    def run(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        if self._is_sqlite:
            connection = sqlite3.connect(self.url.removeprefix("sqlite:///"), timeout=30)
            with connection:
                found = connection.execute(sql, values).fetchall()
            connection.close()
            return found
        named = sql
        for name in values:
            named = named.replace(f":{name}", f"%({name})s")
        with psycopg.connect(self.url) as session:
            cursor = session.execute(named, values)
            return cursor.fetchall() if cursor.description else []

    def add(self, **known: Any) -> str:
        """A row, by default of a task that succeeded. Returns its task id."""
        now = datetime.now(timezone.utc)
        row = {
            "task_id": str(uuid4()),
            "task": "shop.add",
            "args": json.dumps([1, 2]),
            "kwargs": json.dumps({}),
            "status": "SUCCESS",
            "date_done": now,
            "hidden": False,
            "meta": pickled({"children": None}, compressed=True),
            **known,
        }
        if self._is_sqlite:
            row = {name: self._text(value) for name, value in row.items()}
        places = ", ".join(f":{name}" for name in row)
        self.run(f"INSERT INTO celery_taskresultmeta ({', '.join(row)}) VALUES ({places})", **row)
        return str(row["task_id"])

    @staticmethod
    def _text(value: Any) -> Any:
        """Django keeps dates in SQLite in UTC, and without saying so."""
        if isinstance(value, datetime):
            return str(value.astimezone(timezone.utc).replace(tzinfo=None))
        return value

    def add_waiting(self, due_in: timedelta = -HOUR, **known: Any) -> str:
        now = datetime.now(timezone.utc)
        dates = {"date_submitted": now - 2 * HOUR, "eta": now + due_in}
        return self.add(status="SCHEDULED", **dates, **known)

    def claim_due(self) -> list[str]:
        """What `send_scheduled_task` does first; the ids that it would send."""
        mark, now = uuid4().hex, datetime.now(timezone.utc)
        self.run(
            "UPDATE celery_taskresultmeta SET scheduled_id = :mark "
            "WHERE scheduled_id IS NULL AND eta < :now AND status = 'SCHEDULED'",
            mark=mark,
            now=self._text(now) if self._is_sqlite else now,
        )
        sql = "SELECT task_id FROM celery_taskresultmeta WHERE scheduled_id = :mark"
        return [row[0] for row in self.run(sql, mark=mark)]
