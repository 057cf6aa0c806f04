"""How long `check` looks at a million open tasks, and what memory it takes."""

from __future__ import annotations

import argparse
import resource
import sys
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

# Run as a script, from anywhere.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg
from celery import Celery

from benchmarks.places import Places
from fullresult import FullResult

PROMISED = 15.0
"""Seconds for a million."""
_CHUNK = 250_000
_NONE = timedelta(0)

# Open tasks of 50 names with a few keyword arguments; one in a hundred carries a link.
_FILL = """
INSERT INTO fullresult_task (
    task_id, date_created, date_updated, date_published,
    outcome_stamp, state, open, retries, stale_from,
    message_stamp, name, args, kwargs, body, content_type, content_encoding, headers,
    properties, exchange, routing_key, queue, root_id
)
SELECT
    id, created, created, created, '00000000020' || lpad(to_hex(i), 22, '0'), 'PENDING', true, 0,
    created,
    '00000000020' || lpad(to_hex(i), 22, '0'), 'shop.charge_' || i %% 50, '[1]',
    jsonb_build_object('order_id', i, 'currency', 'EUR'),
    convert_to('[[1], {"order_id": ' || i || ', "currency": "EUR"}, {' ||
        CASE WHEN i %% 100 = 0 THEN '"callbacks": [{"task": "shop.charge_1", "args": [], '
            '"kwargs": {"order_id": 1}, "options": {}, "subtask_type": null, "immutable": false}]'
        ELSE '' END || '}]', 'UTF8'),
    'application/json', 'utf-8',
    '{"lang": "py", "task": "shop.charge", "id": "' || id || '"}', '{"delivery_mode": 2}',
    '', 'celery', 'celery', id
FROM (
    SELECT i, md5(i::text)::uuid::text AS id,
        now() - interval '20 days' + i * interval '20 days' / %(rows)s AS created
    FROM generate_series(%(first)s::bigint, %(last)s) AS i
) AS told
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with ExitStack() as stack:
        url = stack.enter_context(Places(stack).storage("postgresql"))
        full = _app(url).fullresult
        stack.callback(full.close)
        full.setup()
        _fill(url, rows)
        full.check(recent=_NONE)  # what is imported and connected is no part of the price
        before = _memory()
        began = time.perf_counter()
        findings = full.check(recent=_NONE)
        took = time.perf_counter() - began
    assert findings.checked == rows
    print(f"{rows:,} open tasks: {took:.1f} s (promised: {PROMISED * rows / 1e6:.1f}), ", end="")
    print(f"{_memory() - before:+,} MB, {len(findings.found)} findings")


def _app(url: str) -> Celery:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.fullresult_storage = url
    FullResult(app)
    for number in range(50):
        app.task(name=f"shop.charge_{number}", shared=False)(_charge)
    return app


def _charge(first: int, order_id: int, currency: str = "EUR") -> None:
    pass


def _fill(url: str, rows: int) -> None:
    with psycopg.connect(url, autocommit=True) as session:
        for first in range(1, rows + 1, _CHUNK):
            last = min(first + _CHUNK - 1, rows)
            session.execute(_FILL, {"rows": rows, "first": first, "last": last})
        session.execute("VACUUM ANALYZE fullresult_task")


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    main()
