"""The table of Celery's database backend, filled by hand where Celery makes no such row at will."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

# As Celery 5.7's models have it.
_TABLE = """
CREATE TABLE celery_taskmeta (
    id INTEGER PRIMARY KEY AUTOINCREMENT, task_id VARCHAR(155) UNIQUE, status VARCHAR(50),
    result BLOB, date_done DATETIME, traceback TEXT, children BLOB, name VARCHAR(155), args BLOB,
    kwargs BLOB, worker VARCHAR(155), retries INTEGER, queue VARCHAR(155), stamps BLOB
)
"""


class Table:
    """One table, in a file of SQLite's."""

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path}"
        self._path = path
        self.run(_TABLE)

    def run(self, sql: str, *values: Any) -> None:
        connection = sqlite3.connect(self._path, timeout=30)
        with connection:
            connection.execute(sql, values)
        connection.close()

    def add(self, task_id: str, **known: Any) -> None:
        row = {
            "task_id": task_id,
            "status": "SUCCESS",
            "result": b"1",
            "date_done": str(datetime.now(timezone.utc).replace(tzinfo=None)),
            "name": "shop.add",
            "args": b"[1, 2]",
            "kwargs": b"{}",
            **known,
        }
        names, places = ", ".join(row), ", ".join("?" * len(row))
        self.run(f"INSERT INTO celery_taskmeta ({names}) VALUES ({places})", *row.values())
