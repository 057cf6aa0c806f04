"""What a task weighs in a store: bytes at rest, and bytes logged by a task in a full store.

    python benchmarks/sizes.py --tasks 100000 --json sizes.json

It counts and times nothing, so that a busy machine does no harm.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

# Run as a script, from anywhere.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg
import pymongo
from celery import Celery

from benchmarks import writing
from fullresult import FullResult
from tests.kit import servers

if TYPE_CHECKING:
    from fullresult.storage import Storage

_KINDS = ("postgresql", "sqlite", "mongodb")
_LOGGED = 2_000
"""Tasks whose log is measured."""


def main() -> None:
    options = _options()
    figures = {kind: _measure(kind, options.tasks) for kind in options.storage.split(",")}
    for kind, found in figures.items():
        print(kind, *(f"{name}: {value:,.0f}" for name, value in found.items()), sep="  ")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=100_000, help="in a store (%(default)s)")
    parser.add_argument("--storage", default=",".join(_KINDS), help="some of %(default)s")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser.parse_args()


def _measure(kind: str, tasks: int) -> dict[str, float]:
    with ExitStack() as stack:
        url = _store(kind, stack)
        storage = _filled(url, tasks)
        if kind == "postgresql":
            return _of_postgresql(url, storage)
        if kind == "mongodb":
            return _of_mongodb(url)
        storage.close()  # which writes the log back into the file
        path = Path(url.removeprefix("sqlite:///"))
        return {"bytes at rest": path.stat().st_size / tasks}


def _store(kind: str, stack: ExitStack) -> str:
    if kind == "sqlite":
        directory = stack.enter_context(TemporaryDirectory())
        return f"sqlite:///{Path(directory, 'store.sqlite')}"
    if kind == "postgresql":
        server = stack.enter_context(servers.postgresql())
        return stack.enter_context(servers.postgresql_database(server))
    server = stack.enter_context(servers.mongodb())
    return stack.enter_context(servers.mongodb_database(server))


def _filled(url: str, tasks: int) -> Storage:
    app = Celery(set_as_current=False)
    app.conf.update(fullresult_storage=url, fullresult_storage_timeout=600)
    full = FullResult(app)
    full.setup()
    done = 0
    for number in writing.batched_life(full.storage):
        done += number
        if done >= tasks - _LOGGED:
            break
    _live(full.storage, _LOGGED)
    return full.storage


def _live(storage: Storage, tasks: int) -> None:
    life = writing.direct_life(storage)
    for _ in range(tasks):
        next(life)


def _of_postgresql(url: str, storage: Storage) -> dict[str, float]:
    with psycopg.connect(url, autocommit=True) as ask:
        ask.execute("CHECKPOINT")
        first = _logged(ask)
        _live(storage, _LOGGED)
        second = _logged(ask)
        _live(storage, _LOGGED)
        third = _logged(ask)
        sizes: Any = ask.execute(
            "SELECT pg_table_size('fullresult_task'), pg_indexes_size('fullresult_task')"
        ).fetchone()
        rows: Any = ask.execute("SELECT count(*) FROM fullresult_task").fetchone()
    return {
        "bytes at rest, rows": sizes[0] / rows[0],
        "bytes at rest, indexes": sizes[1] / rows[0],
        "bytes of WAL after a checkpoint": (second - first) / _LOGGED,
        "bytes of WAL later": (third - second) / _LOGGED,
    }


def _logged(ask: psycopg.Connection) -> int:
    row: Any = ask.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()
    return int(row[0])


def _of_mongodb(url: str) -> dict[str, float]:
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        client.admin.command("fsync")
        found = client.get_default_database().command("collStats", "fullresult_task")
    return {
        "bytes of documents": found["size"] / found["count"],
        "bytes at rest, documents compressed": found["storageSize"] / found["count"],
        "bytes at rest, indexes": found["totalIndexSize"] / found["count"],
    }


if __name__ == "__main__":
    main()
