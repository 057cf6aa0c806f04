"""How long the web pages take over a full store: each as a browser asks for it, in one process."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

# Run as a script, from anywhere.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import httpx
from celery import Celery

from benchmarks.documents import fill_mongodb
from benchmarks.filling import COMMON_NAME, RARE_NAME, RARE_QUEUE, fill_postgresql, fill_sqlite
from fullresult import FullResult
from fullresult.config.passwords import hash_token, new_token
from fullresult.web import create_app
from tests.kit import servers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.filling import Filled

_KINDS = ("sqlite", "postgresql", "mongodb")
PROMISED = 100.0
"""Milliseconds, of the median."""
_INDEXED = ("order_id",)


def main() -> int:
    """Measure and print; 1 if a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="records (%(default)s)")
    parser.add_argument("--runs", type=int, default=15, help="of each page (%(default)s)")
    parser.add_argument("--storage", default="sqlite,postgresql", help="some of them, by commas")
    options = parser.parse_args()
    kept = True
    for kind in options.storage.split(","):
        with ExitStack() as running:
            url = running.enter_context(_store(kind))
            print(f"{kind}: filling {options.rows:,} records ...", file=sys.stderr)
            app, filled = _filled(kind, url, options.rows)
            print(f"\n{kind}, {options.rows:,} records: milliseconds, promised {PROMISED:.0f}")
            kept &= asyncio.run(_measure(app, filled, options.runs))
            app.fullresult.close()
    return 0 if kept else 1


@contextmanager
def _store(kind: str) -> Iterator[str]:
    """The URL of an empty one."""
    with ExitStack() as running:
        if kind == "sqlite":
            yield f"sqlite:///{Path(running.enter_context(TemporaryDirectory()), 'store.db')}"
        elif kind == "postgresql":
            server = running.enter_context(servers.postgresql(durable=True))
            yield running.enter_context(servers.postgresql_database(server))
        else:
            server = running.enter_context(servers.mongodb())
            yield running.enter_context(servers.mongodb_database(server))


def _filled(kind: str, url: str, rows: int) -> tuple[Celery, Filled]:
    app = Celery("shop", broker="memory://")
    app.conf.update(
        fullresult_storage=url, fullresult_storage_timeout=600, fullresult_index_kwargs=_INDEXED
    )
    full = FullResult(app)
    full.setup()
    full.close()
    if kind == "sqlite":
        return app, fill_sqlite(Path(url.removeprefix("sqlite:///")), rows)
    fill = fill_postgresql if kind == "postgresql" else fill_mongodb
    return app, fill(url, rows)


def pages(filled: Filled) -> dict[str, str]:
    """What is looked at, by what it is called here."""
    middle = filled.rows // 2
    deep = f"{filled.created(middle).isoformat(timespec='milliseconds')}|{filled.task_id(middle)}"
    return {
        "as the pages open": "/",
        "the newest": "/?q=",
        "the newest, as the live list asks": "/?fragment=1",
        "half way down, by keyset": f"/?after={quote(deep)}",
        "failures": "/?q=state:FAILURE",
        "a frequent name": f"/?q=name:{COMMON_NAME}",
        "a rare name": f"/?q=name:{RARE_NAME}",
        "failures of a glob": f"/?q={quote('state:FAILURE name:shop.*')}",
        "a kwarg (indexed)": f"/?q={quote(f'kwargs.order_id:{middle}')}",
        "a kwarg (nested)": f"/?q={quote('kwargs.shipping.country:DE')}",
        "a text that all have": "/?q=shop",
        "a text that few have": f"/?q={quote('no such text')}",
        "a queue that few have": f"/?q=queue:{RARE_QUEUE}",
        "one task": f"/task?id={filled.task_id(middle)}",
        "one task of a workflow": f"/task?id={filled.task_id(middle // 10 * 10 + 3)}",
        "scheduled": "/scheduled",
        "stale": "/stale",
        "stale scheduled": "/stale-scheduled",
        "orphans": "/orphans",
        "overview": f"/overview?since={quote(filled.created(middle).isoformat())}",
        "suggestions": "/suggest?word=name:shop",
        "metrics": "/metrics",
    }


async def _measure(app: Celery, filled: Filled, runs: int) -> bool:
    token = new_token()
    users = {"bench": {"token": hash_token(token), "role": "operator"}}
    transport = httpx.ASGITransport(app=create_app(app.fullresult, users=users))
    kept = True
    async with httpx.AsyncClient(
        transport=transport,
        base_url="http://127.0.0.1:8766",
        headers={"authorization": f"Bearer {token}"},
    ) as client:
        for name, path in pages(filled).items():
            taken, size = await _ask(client, path, runs)
            middle = median(taken)
            verdict = "kept" if middle <= PROMISED else "BROKEN"
            kept &= middle <= PROMISED
            print(
                f"{name:36}{middle:9.1f}  {min(taken):8.1f} to {max(taken):8.1f}"
                f"  {size / 1000:7.0f} kB  {verdict}"
            )
    return kept


async def _ask(client: Any, path: str, runs: int) -> tuple[list[float], int]:
    taken, size = [], 0
    for _ in range(runs + 1):
        start = time.perf_counter()
        answer = await client.get(path)
        taken.append((time.perf_counter() - start) * 1000)
        assert answer.status_code == 200, (path, answer.status_code, answer.text[:2000])
        size = len(answer.content)
    return taken[1:], size  # The first comes from the disk.


if __name__ == "__main__":
    sys.exit(main())
