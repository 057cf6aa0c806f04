"""Any number of realistic records in an empty store, made by the database itself."""

from __future__ import annotations

import hashlib
import sqlite3
import uuid
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import psycopg

from fullresult_storage_sql.rows import date_text

if TYPE_CHECKING:
    from pathlib import Path

EPOCH = datetime(2026, 1, 1, tzinfo=timezone.utc)
"""When the first was created."""
SPAN = timedelta(days=30)
"""From the first to the last."""

COMMON_NAME = "shop.orders.charge"
RARE_NAME = "nightly.close_books"
RARE_QUEUE = "rare"
_NAMES = (
    *(COMMON_NAME,) * 24,
    *("shop.mail.send",) * 16,
    *(f"shop.stock.update_{n}" for n in range(10)),
    *(f"media.images.resize_{n}" for n in range(20)),
    *(f"reports.build_{n}" for n in range(15)),
    *(f"sync.partner_{n}.pull" for n in range(15)),
)
NEWEST_OPEN = 400
"""So many of the newest are not finished."""
_STALE = 20
"""So many of the others never finished."""
CAUSES = 300
"""Groups of failures."""
KWARGSREPR = (
    " and all the others, as Python writes them, which is about as long as the keyword arguments"
    " themselves"
)
_CHUNK = 500_000

# PostgreSQL and SQLite run this: what they say differently are functions. `i` counts from 1; `h` is
# spread over 0..999, `j` over 0..99,990.
_FILL = """
INSERT INTO fullresult_task (
    task_id, date_created, date_updated, date_published,
    outcome_stamp, state, open, retries, worker, date_started, date_done, stale_from, runtime,
    result, result_form, exception_type, exception_message, traceback,
    message_stamp, name, args, kwargs, embed, body, content_type, content_encoding, headers,
    properties, exchange, routing_key, queue, priority, root_id, parent_id, group_id,
    start_stamp, start_worker, start_date, fingerprint
)
SELECT
    id, created, created, created,
    '000000000' || CASE WHEN done THEN '69' ELSE '20' END || tail,
    state, state IN ('PENDING', 'STARTED'), 0,
    CASE WHEN ran THEN 'celery@host-' || (i % 8) END,
    CASE WHEN ran THEN created END, CASE WHEN done THEN created END, created,
    CASE WHEN done THEN 0.25 END,
    CASE WHEN state = 'SUCCESS' THEN as_json('{"charged": ' || j || ', "currency": "EUR"}') END,
    CASE WHEN state = 'SUCCESS' THEN 'json' END,
    CASE WHEN state = 'FAILURE' THEN 'shop.errors.CardDeclined' END,
    CASE WHEN state = 'FAILURE' THEN 'card ' || i || ' was declined' END,
    CASE WHEN state = 'FAILURE' THEN 'Traceback (most recent call last): ' || headers END,
    '00000000020' || tail, name, as_jsonb(args), as_jsonb(kwargs), embed,
    as_bytes('[' || args || ', ' || kwargs || ', ' || embed || ']'),
    'application/json', 'utf-8', headers,
    '{"delivery_mode": 2, "reply_to": "d286d091-cf2b-3151-b124-c558f838ee58"}',
    '', queue, queue, 0,
    CASE WHEN i % 10 = 3 THEN 'root-' || (i / 100) ELSE id END,
    CASE WHEN i % 10 = 3 THEN 'root-' || (i / 100) END,
    CASE WHEN i % 20 = 4 THEN 'group-' || (i / 400) END,
    CASE WHEN ran THEN '00000000040' || tail END, CASE WHEN ran THEN 'celery@host' END,
    CASE WHEN ran THEN created END,
    CASE WHEN state = 'FAILURE' THEN '1-' || (1000000 + j % {causes}) END
FROM (
    SELECT
        *,
        state IN ('SUCCESS', 'FAILURE', 'REVOKED') AS done,
        state IN ('SUCCESS', 'FAILURE', 'STARTED') AS ran,
        '{"callbacks": null, "errbacks": null, "chain": null, "chord": null}' AS embed,
        '{"lang": "py", "retries": 0, "task": "' || name || '", "id": "' || id || '",'
        || ' "shadow": null, "eta": null, "expires": null, "group": null, "group_index": null,'
        || ' "root_id": "' || id || '", "timelimit": [null, null], "parent_id": null,'
        || ' "argsrepr": "(' || h || ',)", "kwargsrepr": "' || i || '{kwargsrepr}",'
        || ' "origin": "gen3674@host", "stamps": {}}'
        AS headers
    FROM (
        SELECT
            i, h, j, id_of(i) AS id, created_at(i) AS created, stamp_tail(i) AS tail,
            CASE WHEN i % 20000 = 5 THEN '{rare_name}' ELSE name_of(j) END AS name,
            CASE WHEN i % 100000 = 9 THEN '{rare_queue}' WHEN h < 600 THEN 'celery'
                WHEN h < 850 THEN 'mail' ELSE 'reports' END AS queue,
            CASE
                WHEN i > {rows} - {newest_open} AND i % 2 = 0 THEN 'PENDING'
                WHEN i > {rows} - {newest_open} OR i % {stale_every} = 77 THEN 'STARTED'
                WHEN h < 970 THEN 'SUCCESS' WHEN h < 992 THEN 'FAILURE' ELSE 'REVOKED'
            END AS state,
            '[' || h || ', "item-' || j || '"]' AS args,
            '{"order_id": ' || i || ', "customer": "c-' || j || '", "flag": '
            || CASE WHEN h % 2 = 0 THEN 'true' ELSE 'false' END || ', "batch": ' || h
            || ', "plan": "' || CASE WHEN i <= {rows} / 10 THEN 'old' ELSE 'new' END
            || '", "shipping": {"country": "PT", "zip": ' || (j * 7) || '}}' AS kwargs
        FROM (
            SELECT i, (i * 7919 + i / 1000) % 1000 AS h, (i * 48271 + 11) % 99991 AS j
            FROM (
                WITH RECURSIVE series(i) AS (
                    SELECT CAST({first} AS bigint)
                    UNION ALL
                    SELECT i + 1 FROM series WHERE i < {last}
                )
                SELECT i FROM series
            ) AS counted
        ) AS spread
    ) AS shaped
) AS told
"""

_POSTGRESQL_FUNCTIONS = """
CREATE FUNCTION as_json(text) RETURNS json LANGUAGE sql IMMUTABLE AS 'SELECT $1::json';
CREATE FUNCTION as_jsonb(text) RETURNS jsonb LANGUAGE sql IMMUTABLE AS 'SELECT $1::jsonb';
CREATE FUNCTION as_bytes(text) RETURNS bytea LANGUAGE sql IMMUTABLE
    AS $$SELECT convert_to($1, 'UTF8')$$;
CREATE FUNCTION id_of(bigint) RETURNS text LANGUAGE sql IMMUTABLE
    AS 'SELECT md5($1::text)::uuid::text';
CREATE FUNCTION stamp_tail(bigint) RETURNS text LANGUAGE sql IMMUTABLE
    AS $$SELECT lpad(to_hex($1), 22, '0')$$;
CREATE FUNCTION created_at(bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE
    AS $$SELECT timestamptz '{epoch}' + $1 * interval '{step} milliseconds'$$;
CREATE FUNCTION name_of(bigint) RETURNS text LANGUAGE sql IMMUTABLE
    AS $$SELECT ('{{{names}}}'::text[])[$1 % {count} + 1]$$;
"""
_NO_FUNCTIONS = """
DROP FUNCTION as_json, as_jsonb, as_bytes, id_of, stamp_tail, created_at, name_of
"""


def name_of(number: int) -> str:
    """One of the many names, some of them much more often than others."""
    return _NAMES[number % len(_NAMES)]


@dataclass(frozen=True)
class Filled:
    """What was filled: *rows* records, the i-th (from 1) with the `order_id` i."""

    rows: int
    start: datetime = EPOCH
    """When the first was created."""

    @property
    def step(self) -> int:
        """Milliseconds from one record to the next."""
        return max(int(SPAN.total_seconds() * 1000) // self.rows, 1)

    def created(self, i: int) -> datetime:
        return self.start + timedelta(milliseconds=self.step * i)

    @property
    def stale_every(self) -> int:
        return max(self.rows // _STALE, 100)

    @property
    def end(self) -> datetime:
        """When the last was created."""
        return self.created(self.rows)

    def task_id(self, i: int) -> str:
        return str(uuid.UUID(hashlib.md5(str(i).encode()).hexdigest()))

    def statements(self) -> list[str]:
        """The SQL that fills, to run one after the other."""
        return [self._statement(first) for first in range(1, self.rows + 1, _CHUNK)]

    def _statement(self, first: int) -> str:
        values = {
            "rare_name": RARE_NAME,
            "rare_queue": RARE_QUEUE,
            "rows": self.rows,
            "newest_open": NEWEST_OPEN,
            "stale_every": self.stale_every,
            "causes": CAUSES,
            "kwargsrepr": KWARGSREPR,
            "first": first,
            "last": min(first + _CHUNK - 1, self.rows),
        }
        sql = _FILL
        for name, value in values.items():
            sql = sql.replace(f"{{{name}}}", str(value))
        return sql


def fill_postgresql(url: str, rows: int, start: datetime = EPOCH) -> Filled:
    """Fill the empty table at *url*, whose indexes are made again afterwards."""
    filled = Filled(rows, start)
    with psycopg.connect(url, autocommit=True) as connection:
        run = connection.cursor().execute
        definitions = run(
            "SELECT indexname, indexdef FROM pg_indexes "
            "WHERE tablename = 'fullresult_task' AND indexname NOT LIKE '%_pkey'"
        ).fetchall()
        run("SET synchronous_commit = off; SET maintenance_work_mem = '1GB'")
        for name, _ in definitions:
            run(f"DROP INDEX {name}")
        run(
            _POSTGRESQL_FUNCTIONS.format(
                epoch=filled.start.isoformat(),
                step=filled.step,
                names=",".join(_NAMES),
                count=len(_NAMES),
            )
        )
        for statement in filled.statements():
            run(statement)
        run(_NO_FUNCTIONS)
        for _, definition in definitions:
            run(definition)
        run("VACUUM (ANALYZE) fullresult_task")
        run("CHECKPOINT")
    return filled


def fill_sqlite(file: Path, rows: int, start: datetime = EPOCH) -> Filled:
    """Fill the empty table in *file*, whose indexes are made again afterwards."""
    filled = Filled(rows, start)
    functions = {
        "as_json": str,
        "as_jsonb": str,
        "as_bytes": str.encode,
        "id_of": filled.task_id,
        "stamp_tail": "{:022x}".format,
        "created_at": lambda i: date_text(filled.created(i)),
        "name_of": name_of,
    }
    with closing(sqlite3.connect(file)) as connection:
        for name, function in functions.items():
            connection.create_function(name, 1, function, deterministic=True)
        definitions = connection.execute(
            "SELECT name, sql FROM sqlite_schema "
            "WHERE type = 'index' AND tbl_name = 'fullresult_task' AND sql IS NOT NULL"
        ).fetchall()
        connection.execute("PRAGMA cache_size = -500000")
        for name, _ in definitions:
            connection.execute(f"DROP INDEX {name}")
        for statement in filled.statements():
            with connection:
                connection.execute(statement)
        for _, definition in definitions:
            connection.execute(definition)
    return filled
