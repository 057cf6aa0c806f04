"""An upgrade of a large PostgreSQL table holds no lock that writers wait for.

`FULLRESULT_CAMPAIGN_ROWS` is the number of rows in the campaign; 10,000,000 take about 15 GB.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from celery import Celery

from fullresult import FullResult
from fullresult_storage_sql import postgresql_schema, statements

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger(__name__)

OLD = 7
"""The version from which is upgraded: later ones build indexes on the table."""
ROWS = int(os.environ.get("FULLRESULT_CAMPAIGN_ROWS", "2000000"))
LONGEST = 1.5
"""Seconds for which a lock may be waited for or held: `setup` gives up after one."""
_FILL = """
INSERT INTO fullresult_task (
    task_id, date_created, date_updated, outcome_stamp, state, open, retries, stale_from,
    message_stamp, name, args, kwargs, body, content_type, content_encoding, headers, root_id
)
SELECT
    'task-' || i, moment, moment, '000', 'SUCCESS', false, 0, moment,
    '000', 'shop.task_' || mod(i, 100), '[1]', jsonb_build_object('order', i), '\\x5b5d',
    'application/json', 'utf-8', repeat('x', 600), 'task-' || i
FROM (
    SELECT i, now() - i * interval '1 second' AS moment
    FROM generate_series(%s::integer, %s::integer) AS i
) AS counted
"""
_STRONG = """
SELECT l.pid, l.mode, l.granted
FROM pg_locks AS l
WHERE l.relation = 'fullresult_task'::regclass
    AND l.mode IN ('AccessExclusiveLock', 'ExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock')
"""


class Locks:
    """How long locks on the table were held, or waited for, by which writers must wait."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self._since: dict[tuple[Any, ...], float] = {}
        self.longest: dict[str, float] = defaultdict(float)
        self.looks = 0
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._stop.wait(0.02):
                found = set(connection.execute(_STRONG).fetchall())
                now = time.monotonic()
                self._since = {lock: self._since.get(lock, now) for lock in found}
                for lock, since in self._since.items():
                    self.longest[lock[1]] = max(self.longest[lock[1]], now - since)
                self.looks += 1


@contextmanager
def writing(url: str) -> Iterator[list[float]]:
    """An old worker, as it were, that ends a task now and then: the seconds that each took."""
    took: list[float] = []
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not stop.wait(0.02):
                began = time.monotonic()
                connection.execute(
                    "UPDATE fullresult_task SET state = 'FAILURE', date_updated = now() "
                    "WHERE task_id = 'task-' || %s",
                    [len(took) % 1000 + 1],
                )
                took.append(time.monotonic() - began)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield took
    finally:
        stop.set()
        thread.join()


def old_table(url: str, rows: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE fullresult_schema "
            "(version integer PRIMARY KEY, applied timestamptz NOT NULL DEFAULT now())"
        )
        for number, sql in statements.migrations("postgresql"):
            if number <= OLD:
                connection.execute(sql.encode())
                connection.execute("INSERT INTO fullresult_schema VALUES (%s)", [number])
        for first in range(1, rows + 1, 500_000):
            connection.execute(_FILL, [first, min(first + 499_999, rows)])


@pytest.mark.parametrize(
    "rows", [5_000, pytest.param(ROWS, marks=pytest.mark.campaign)], ids=["few", "many"]
)
def test_writers_go_on_while_a_large_table_is_upgraded(
    postgresql_url: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_schema, "LARGE", 1)
    old_table(postgresql_url, rows)
    app = Celery("shop", set_as_current=False, broker="memory://")
    app.conf.fullresult_storage = postgresql_url

    with (
        closing(FullResult(app)) as full,
        Locks(postgresql_url) as locks,
        writing(postgresql_url) as took,
    ):
        began = time.monotonic()
        full.setup()
        seconds = time.monotonic() - began

    logger.warning(
        "%s rows: setup took %.1f s; %d writes meanwhile, the longest %.3f s; locks: %s",
        *(f"{rows:,}", seconds, len(took), max(took, default=0.0), dict(locks.longest)),
    )
    assert locks.looks
    assert "ShareLock" not in locks.longest  # an index that is built takes it, unless CONCURRENTLY
    if rows == ROWS:
        assert max(locks.longest.values(), default=0.0) < LONGEST
    with psycopg.connect(postgresql_url) as connection:
        found = connection.execute(
            "SELECT indexrelid::regclass::text FROM pg_index "
            "WHERE indrelid = 'fullresult_task'::regclass AND indisvalid"
        ).fetchall()
    wanted = {each.name for each in statements.late_indexes("postgresql")}
    assert {name for (name,) in found} >= {
        name for name in wanted if name.startswith("fullresult_task_")
    }
