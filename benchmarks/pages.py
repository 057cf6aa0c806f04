"""How long the web pages take over a full store: each as a browser asks for it, in one process."""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import sys
import time
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
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
from benchmarks.filling import (
    COMMON_NAME,
    RARE_NAME,
    RARE_QUEUE,
    SPAN,
    fill_postgresql,
    fill_sqlite,
    name_of,
)
from benchmarks.surroundings import surround
from fullresult import FullResult
from fullresult.config.passwords import hash_token, new_token
from fullresult.record import STATES
from fullresult.record.dates import cut
from fullresult.web import create_app
from fullresult.web.pages.overview import SPANS
from tests.kit import servers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.filling import Filled

_KINDS = ("sqlite", "postgresql", "mongodb")
PROMISED = 100.0
"""Milliseconds, of the median."""
_INDEXED = ("order_id",)
_ANSWERS = (200, 303, 404)


def main() -> int:
    """Measure and print; 1 if a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="records (%(default)s)")
    parser.add_argument("--runs", type=int, default=15, help="of each page (%(default)s)")
    parser.add_argument("--storage", default="sqlite,postgresql", help="some of them, by commas")
    parser.add_argument("--url", help="a store that is full already: only reads, of its own tasks")
    parser.add_argument("--only", default="", help="a part of the names of the pages")
    options = parser.parse_args()
    kept = True
    if options.url:
        app = _app(options.url)
        kept = asyncio.run(_measure(app, paths(app.fullresult), options))
        app.fullresult.close()
        return 0 if kept else 1
    for kind in options.storage.split(","):
        with ExitStack() as running:
            url = running.enter_context(_store(kind))
            print(f"{kind}: filling {options.rows:,} records ...", file=sys.stderr)
            app, filled = _filled(kind, url, options.rows)
            print(f"\n{kind}, {options.rows:,} records: milliseconds, promised {PROMISED:.0f}")
            kept &= asyncio.run(_measure(app, paths(app.fullresult, filled), options))
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
    app = _app(url)
    full: FullResult = app.fullresult
    full.setup()
    full.close()
    start = cut(datetime.now(timezone.utc) - SPAN)
    if kind == "sqlite":
        filled = fill_sqlite(Path(url.removeprefix("sqlite:///")), rows, start)
    else:
        filled = (fill_postgresql if kind == "postgresql" else fill_mongodb)(url, rows, start)
    surround(full)
    return app, filled


def _app(url: str) -> Celery:
    """Its broker does not answer, as a page must not wait for one."""
    app = Celery("shop", broker="redis://127.0.0.1:9/0")
    app.conf.update(
        fullresult_storage=url,
        fullresult_index_kwargs=_INDEXED,
        fullresult_namespace="pages",
        beat_schedule={
            f"each {n} minutes": {"task": name_of(n), "schedule": 60.0 * n} for n in range(1, 61)
        },
    )
    FullResult(app)
    return app


def paths(full: FullResult, filled: Filled | None = None) -> dict[str, str]:
    """What is looked at, by what it is called here."""
    some = _Some(full)
    found = {
        "as the pages open": "/",
        "the newest": "/?q=",
        "the newest, as the live list asks": "/?fragment=1",
        "half way down, by keyset": f"/?q=&after={quote(some.middle.cursor)}",
        "unresolved, page 2": f"/?q=state:FAILURE&after={quote(some.failed.cursor)}",
        **{f"tab {state}": f"/?q=state:{state}" for state in STATES},
        "failures, also dealt with": f"/?q={quote('state:FAILURE resent:any')}",
        "a frequent name": f"/?q=name:{COMMON_NAME}",
        "a rare name": f"/?q=name:{RARE_NAME}",
        "a name that none has": "/?q=name:nobody",
        "a glob": "/?q=name:shop.*",
        "a glob that begins with a wildcard": "/?q=name:*close*",
        "failures of a glob": f"/?q={quote('state:FAILURE name:shop.*')}",
        "failures of a rare name": f"/?q={quote(f'state:FAILURE name:{RARE_NAME}')}",
        "one group of failures": f"/?q={quote(f'failure:{some.fingerprint}')}",
        "a kwarg, with an index": f"/?q={quote('kwargs.order_id:4711')}",
        "a kwarg (nested)": "/?q=kwargs.shipping.country:DE",
        "a text that all have": "/?q=shop",
        "a text that few have": "/?q=no+such+text",
        "the same, going on": "/?q=no+such+text&further=1&fragment=1",
        "a queue that few have": f"/?q=queue:{RARE_QUEUE}",
        "a worker": f"/?q=worker:{some.worker}",
        "the last hour": "/?q=since:1h",
        "an id": f"/?q={some.middle.task_id}",
        "the beginning of an id": f"/?q={some.middle.task_id[:8]}",
        "one task": f"/task?id={some.middle.task_id}",
        "one task that failed": f"/task?id={some.failed.task_id}",
        "one task that runs": f"/task?id={some.started.task_id}",
        "one task of a workflow": f"/task?id={some.child.task_id}",
        "why, which a task's page loads": f"/why?part=1&id={some.failed.task_id}",
        "why, of one that runs": f"/why?part=1&id={some.started.task_id}",
        "counts, which each page loads": "/counts",
        "scheduled": "/scheduled",
        "scheduled, a name": "/scheduled?q=name:shop.pay",
        "stale": "/stale",
        "stale scheduled": "/stale-scheduled",
        "orphans": "/orphans",
        "periodic": "/periodic",
        **{f"overview, {span}": f"/overview?since={span}" for span in SPANS},
        "overview, 1h, which it loads": "/overview?since=1h&fragment=1",
        "overview, 1d, which it loads": "/overview?since=1d&fragment=1",
        **{f"failures by cause, {span}": f"/failures?since={span}" for span in ("1h", "1d", "30d")},
        "failures by cause, all": "/failures?since=30d&all=1",
        "one cause": f"/failure?id={quote(some.fingerprint)}",
        "one cause, affected": f"/failure?id={quote(some.fingerprint)}&affected=customer",
        "workers": "/workers",
        "queues": "/queues",
        "replays": "/replays",
        "audit": "/audit",
        "audit, a person": "/audit?actor=person+7",
        "audit, an action of nobody": "/audit?action=cancel&actor=person+7",
        "retry, one": f"/retry?id={some.failed.task_id}",
        "retry, edited": f"/edit?id={some.failed.task_id}",
        "retry all that match: a rare name": f"/retry?q={quote(f'name:{RARE_NAME}')}",
        "retry all that match: failures": "/replay-create?q=state:FAILURE",
        "suggestions": "/suggest?word=name:shop",
        "healthz": "/healthz",
        "metrics": "/metrics",
    }
    if some.replay:
        found["one replay"] = f"/replay?id={some.replay}"
    if filled is not None:
        half = filled.created(filled.rows // 2).isoformat()
        found["overview, of half of it"] = f"/overview?since={quote(half)}"
    return found


class _Some:
    """Tasks that the store has."""

    def __init__(self, full: FullResult) -> None:
        (newest,) = full.find(limit=1, name=COMMON_NAME)
        (oldest,) = full.find(limit=1, name=COMMON_NAME, order="oldest")
        between = oldest.date_created + (newest.date_created - oldest.date_created) / 2
        (self.middle,) = full.find(limit=1, until=between, state="SUCCESS")
        self.failed = next(iter(full.find(limit=1, until=between, state="FAILURE")), newest)
        self.started = next(iter(full.find(limit=1, state="STARTED")), newest)
        near = full.find(limit=100, until=between)
        self.child = next((each for each in near if each.parent_id), newest)
        outcome = self.failed.outcome
        self.fingerprint = (outcome.fingerprint if outcome else None) or "none"
        self.worker = self.middle.worker or "nobody"
        self.replay = next((each.replay_id for each in full.replays.list(limit=1)), None)


async def _measure(app: Celery, asked: dict[str, str], options: argparse.Namespace) -> bool:
    token = new_token()
    users = {"bench": {"token": hash_token(token), "role": "operator"}}
    transport = httpx.ASGITransport(app=create_app(app.fullresult, users=users))
    kept = True
    async with httpx.AsyncClient(
        transport=transport,
        base_url="http://127.0.0.1:8766",
        headers={"authorization": f"Bearer {token}"},
    ) as client:
        for name, path in asked.items():
            if options.only not in name:
                continue
            taken, size = await _ask(client, path, options.runs)
            middle = median(taken)
            is_kept = middle <= PROMISED or "load" in name or "going on" in name
            verdict = "kept" if middle <= PROMISED else "afterwards" if is_kept else "BROKEN"
            kept &= is_kept
            print(
                f"{name:36}{middle:9.1f}  {min(taken):8.1f} to {max(taken):8.1f}"
                f"  {size / 1000:7.0f} kB  {verdict}",
                flush=True,
            )
    print(f"load {' '.join(f'{each:.1f}' for each in os.getloadavg())}", flush=True)
    return kept


async def _ask(client: Any, path: str, runs: int) -> tuple[list[float], int]:
    taken, size = [], 0
    for _ in range(runs + 1):
        start = time.perf_counter()
        answer = await client.get(path)
        taken.append((time.perf_counter() - start) * 1000)
        if answer.status_code not in _ANSWERS:
            print(f"{path}: {answer.status_code}", file=sys.stderr)
            return [math.inf], 0
        size = len(answer.content)
    return taken[1:], size  # The first comes from the disk.


if __name__ == "__main__":
    sys.exit(main())
