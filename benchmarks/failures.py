"""How long a store with a million failures takes to tell their groups, and to list what is left."""

from __future__ import annotations

import argparse
import sqlite3
import sys
import time
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

# Run as a script, from anywhere.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg
import pymongo
from celery import Celery

from fullresult import FullResult
from fullresult.insight.failures import Failures
from fullresult.record import FailureQuery, TaskQuery
from fullresult.record.failure import Decision
from fullresult.storage import FailureStorage
from tests.kit import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_KINDS = ("postgresql", "sqlite", "mongodb")
_PROMISED = 100.0
"""Milliseconds for the page."""
_BATCH = 20_000
_INTO = """
INSERT INTO fullresult_task (
    task_id, date_created, date_updated, date_published, outcome_stamp, state, open, retries,
    date_done, stale_from, exception_type, exception_message, message_stamp, name, fingerprint,
    resent
)
SELECT
    'id-' || i, made, made, made, '00000000068' || tail, 'FAILURE', {no}, 0, made, made,
    'shop.errors.CardDeclined', 'card ' || i || ' was declined', '00000000020' || tail,
    'shop.task_' || g, '1-' || (1000000 + g),
    CASE WHEN i % 7 = 0 THEN '00000000068' || tail || '~0000018f000000new.' END
FROM (
    SELECT
        i, {made} AS made, '00000000000000' || (10000000 + i) AS tail,
        CASE WHEN i % 10 < 8 THEN i / 10 % {few} ELSE {few} + i % {rest} END AS g
    FROM {series}
) AS told
"""
"""A tenth of the groups has most of the failures; one failure in seven was sent again."""


def main() -> int:
    """Measure and print; 1 if the page takes longer than is promised."""
    options = _options()
    kept = True
    with ExitStack() as running:
        for kind in options.storage:
            for name, times in _measure(kind, options, running).items():
                middle, least = median(times), min(times)
                print(f"{kind:12}{name:42}{middle:10.1f} ms, at least {least:.1f}", flush=True)
                kept = kept and (name != "the page" or middle < _PROMISED)
    return 0 if kept else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="failures (%(default)s)")
    parser.add_argument("--groups", type=int, default=301, help="of so many causes (%(default)s)")
    parser.add_argument("--runs", type=int, default=15, help="times (%(default)s)")
    parser.add_argument("--storage", type=lambda text: text.split(","), default=[*_KINDS])
    return parser.parse_args()


def _measure(kind: str, options: argparse.Namespace, running: ExitStack) -> dict[str, list[float]]:
    url = running.enter_context(_store(kind))
    app = Celery()
    app.conf.update(fullresult_storage=url, fullresult_storage_timeout=600)
    storage: Any = FullResult(app).storage
    assert isinstance(storage, FailureStorage)
    storage.setup()
    began = time.perf_counter()
    _FILL[kind](url, options.rows, options.groups)
    print(f"{kind}: {options.rows:,} failures in {time.perf_counter() - began:.0f} s", flush=True)
    groups = storage.find_failures(FailureQuery(limit=1_000))
    assert len(groups) == options.groups
    most = groups[0].fingerprint
    for group in groups[:20]:
        storage.keep_decision(
            Decision(group.fingerprint, "resolved", group.date_first, None, None, None, "me", "")
        )
    left: dict[str, Any] = {"state": "FAILURE", "unresolved": True, "limit": 51}
    asked: dict[str, Callable[[], object]] = {
        "the page": lambda: Failures(storage).find(groups[-1].date_first),
        "the page, of the last day": lambda: Failures(storage).find(),
        "one group": lambda: Failures(storage).get(most),
        "the newest failures that are left": lambda: storage.find(TaskQuery(**left)),
        "of one group": lambda: storage.find(TaskQuery(**left, fingerprint=most)),
        "a tab's number": lambda: storage.count_capped(TaskQuery(**left), 1000),
    }
    return {name: [*_times(ask, options.runs)] for name, ask in asked.items()}


def _times(ask: Callable[[], object], runs: int) -> Iterator[float]:
    ask()
    for _ in range(runs):
        began = time.perf_counter()
        ask()
        yield (time.perf_counter() - began) * 1000


@contextmanager
def _store(kind: str) -> Iterator[str]:
    """The URL of an empty store."""
    with ExitStack() as running:
        if kind == "sqlite":
            directory = running.enter_context(TemporaryDirectory())
            yield f"sqlite:///{Path(directory, 'store.sqlite')}"
        elif kind == "postgresql":
            server = running.enter_context(servers.postgresql(durable=True))
            yield running.enter_context(servers.postgresql_database(server))
        else:
            server = running.enter_context(servers.mongodb())
            yield running.enter_context(servers.mongodb_database(server))


def _sql(groups: int, made: str, no: str, series: str) -> str:
    few = groups // 10
    return _INTO.format(made=made, no=no, few=few, rest=groups - few, series=series)


def _fill_postgresql(url: str, rows: int, groups: int) -> None:
    made, series = f"now() - ({rows} - i) * interval '3 s'", f"generate_series(1, {rows}) AS i"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_sql(groups, made, "false", series).encode())
        connection.execute("VACUUM (ANALYZE) fullresult_task")


def _fill_sqlite(url: str, rows: int, groups: int) -> None:
    made = f"strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now', '-' || (3 * ({rows} - i)) || ' seconds')"
    series = (
        "(WITH RECURSIVE series(i) AS "
        f"(SELECT 1 UNION ALL SELECT i + 1 FROM series WHERE i < {rows}) SELECT i FROM series)"
    )
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute(_sql(groups, made, "0", series))


def _fill_mongodb(url: str, rows: int, groups: int) -> None:
    with pymongo.MongoClient[dict[str, Any]](url, w=1) as client:
        tasks = client.get_default_database()["fullresult_task"]
        documents = (_document(i, rows, groups) for i in range(1, rows + 1))
        while batch := list(islice(documents, _BATCH)):
            tasks.insert_many(batch, ordered=False)
        client.admin.command("fsync")


def _document(i: int, rows: int, groups: int) -> dict[str, Any]:
    few = groups // 10
    group = i // 10 % few if i % 10 < 8 else few + i % (groups - few)
    made = datetime.now(timezone.utc) - timedelta(seconds=3 * (rows - i))
    stamp = f"0000000006800000000000000{10_000_000 + i}"
    dates = dict.fromkeys(("date_created", "date_updated", "date_done", "stale_from"), made)
    again = {"resent": f"{stamp}~0000018f000000new."} if i % 7 == 0 else {}
    return {
        "_id": f"id-{i}",
        **dates,
        "outcome_stamp": stamp,
        "state": "FAILURE",
        "bucket": "FAILURE",
        "open": False,
        "retries": 0,
        "exception_type": "shop.errors.CardDeclined",
        "exception_message": f"card {i} was declined",
        "message_stamp": f"0000000002000000000000000{10_000_000 + i}",
        "name": f"shop.task_{group}",
        "fingerprint": f"1-{1_000_000 + group}",
        **again,
    }


_FILL = {"postgresql": _fill_postgresql, "sqlite": _fill_sqlite, "mongodb": _fill_mongodb}


if __name__ == "__main__":
    sys.exit(main())
