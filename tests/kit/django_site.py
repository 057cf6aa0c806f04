"""The project in `examples/django` with a database of its own, and its `manage.py`."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "examples" / "django"
PATIENCE = 400
"""Seconds that a command may take on a busy machine."""
TABLES = ("fullresult_task", "fullresult_schedule", "orders_order")


@dataclass(frozen=True)
class Site:
    """One database, a broker that is a folder, and the environment that names both."""

    database: str
    broker: Path

    def env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "proj.settings",
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(PROJECT))),
            "PYTHONWARNINGS": "default",
            "SHOP_DATABASE": self.database,
            "SHOP_BROKER": "filesystem://",
            "SHOP_BROKER_FOLDER": str(self.broker),
            **(more or {}),
        }

    def manage(
        self, *arguments: str, code: int = 0, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `manage.py`, which must end with *code*."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=PROJECT,
            env=self.env(env),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def python(self, script: str, env: Mapping[str, str] | None = None) -> str:
        """Run *script* in the set up project; what it prints."""
        whole = f"import django\ndjango.setup()\n{script}"
        done = subprocess.run(
            [sys.executable, "-c", whole],
            cwd=PROJECT,
            env=self.env(env),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def rows(self) -> dict[str, int]:
        """The number of rows of each table in the real database."""
        with closing(self._connect()) as database:
            return {table: _count(database, table) for table in TABLES}

    def states(self) -> dict[str, str]:
        """The states of the real database's tasks, by id."""
        with closing(self._connect()) as database:
            found = database.execute("SELECT task_id, state FROM fullresult_task").fetchall()
        return dict(found)

    def _connect(self) -> Any:
        if self.database.startswith("sqlite://"):
            return sqlite3.connect(self.database.removeprefix("sqlite://"))
        return psycopg.connect(self.database)

    def messages(self) -> list[Path]:
        """What is on the broker."""
        return list(self.broker.glob("messages/*"))


def _count(database: Any, table: str) -> int:
    return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@contextmanager
def dropped_afterwards(url: str) -> Iterator[str]:
    """Drop the test databases of the database at *url*, which a failed run may leave."""
    yield url
    with psycopg.connect(url, autocommit=True) as session:
        known = session.execute("SELECT datname FROM pg_database WHERE datname LIKE 'test_%'")
        name = url.rpartition("/")[2].partition("?")[0]
        for (each,) in known.fetchall():
            if each.startswith(f"test_{name}"):
                session.execute(f'DROP DATABASE "{each}" WITH (FORCE)'.encode())
