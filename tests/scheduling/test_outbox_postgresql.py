"""The outbox on PostgreSQL: whatever the session, the role, a proxy, or other transactions do."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator

import psycopg
import pytest
from celery import Celery, Task, _state, signature
from celery.exceptions import Ignore, Retry

from fullresult import FullResult
from fullresult.testing import samples
from tests.kit import scheduling
from tests.kit.outbox import publish, shop, stored
from tests.kit.scheduling import received

SESSIONS = {
    "datestyle": "SET datestyle = 'German, DMY'",
    "time zone": "SET timezone = 'Asia/Kathmandu'",
    "encoding": "SET client_encoding = 'LATIN1'",
    "no encoding": "SET client_encoding = 'SQL_ASCII'",
    "strings": "SET standard_conforming_strings = off",
    "bytes": "SET bytea_output = 'escape'",
    "intervals": "SET intervalstyle = 'sql_standard'",
    "search_path": "SET search_path = elsewhere, pg_catalog",
    "isolation": "SET default_transaction_isolation = 'serializable'",
}


@pytest.fixture
def full(postgresql_url: str) -> Iterator[FullResult]:
    with shop(postgresql_url, broker_url="memory://", broker_transport_options={}) as full:
        yield full


@pytest.mark.parametrize("session", SESSIONS)
def test_no_setting_of_the_session_changes_what_is_written(
    full: FullResult, postgresql_url: str, session: str
) -> None:
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA elsewhere")
        connection.execute(SESSIONS[session])
        with connection.transaction(), full.outbox(connection):
            task_id = publish(full, "ä\\'☃", countdown=3600)

    (schedule,) = full.scheduled()
    record = full.get(task_id)
    assert record is not None
    assert record.args == ["ä\\'☃"]
    assert "☃" in schedule.body.decode("unicode_escape")
    assert 3500 < (schedule.due - full.storage.now()).total_seconds() <= 3600


def test_tables_in_a_schema_of_their_own_are_found_whatever_the_search_path(
    postgresql_url: str,
) -> None:
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute('CREATE SCHEMA "Their Own"')
        ours = f'{postgresql_url}?options=-csearch_path%3D"Their%5C%20Own"'
        with shop(ours) as full, connection.transaction(), full.outbox(connection):
            task_id = publish(full)
        with shop(ours) as full:
            assert stored(full) == [task_id]


def test_through_pgbouncer_in_transaction_mode(full: FullResult, pooled_url: str) -> None:
    with (
        psycopg.connect(pooled_url, prepare_threshold=None) as connection,
        shop(f"{pooled_url}?prepare=off") as pooled,
        pooled.outbox(connection),
    ):
        ids = [publish(pooled) for _ in range(10)]

    assert stored(full) == ids


def test_nobody_waits_for_the_callers_transaction(full: FullResult, postgresql_url: str) -> None:
    """An event of the same id is merged at once, or when the caller commits, but never refused."""
    with psycopg.connect(postgresql_url) as first, psycopg.connect(postgresql_url) as second:
        with full.outbox(first):
            publish(full, task_id="one")
        first.execute("SELECT 1")
        with full.outbox(second):
            publish(full, task_id="two")
        second.commit()
        full.storage.write([samples.task("three")])
        first.commit()

    assert set(stored(full)) == {"one", "two"}


def test_a_late_commit_among_dead_rows_is_found(full: FullResult, postgresql_url: str) -> None:
    """A sweeper begins where the last one came to when many rows are dead."""
    with (
        psycopg.connect(postgresql_url) as late,
        psycopg.connect(postgresql_url, autocommit=True) as busy,
    ):
        with full.outbox(late):
            task_id = publish(full)
        busy.execute("ALTER TABLE fullresult_schedule SET (autovacuum_enabled = off)")
        busy.execute(
            "INSERT INTO fullresult_schedule (schedule_id, task_id, namespace, due, "
            "date_scheduled, body, headers, how) SELECT n::text, 'gone', %s, now(), now(), '', '', "
            "'' FROM generate_series(1, 25000) AS n",
            [full.settings.namespace],
        )
        busy.execute("DELETE FROM fullresult_schedule WHERE task_id = 'gone'")
        busy.execute("SELECT pg_stat_force_next_flush()")
        with scheduling.running(full.app) as sweeper:
            time.sleep(1.5)  # it has looked, and remembers how far it came
            late.commit()
            scheduling.until(lambda: sweeper.swept.sent == 1)

    assert received(full.app, "celery") == [task_id]


KILLED = """
import os, sys
import psycopg
from tests.kit.outbox import publish, shop
url, moment = sys.argv[1:]
with shop(url) as full:
    connection = psycopg.connect(url)
    with full.outbox(connection):
        publish(full, task_id="killed")
        if moment == "before":
            os.kill(os.getpid(), 9)
    connection.commit()
    os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize(("moment", "left"), [("before", []), ("after", ["killed"])])
def test_a_process_that_is_killed(
    full: FullResult, postgresql_url: str, moment: str, left: list[str]
) -> None:
    command = [sys.executable, "-c", KILLED, postgresql_url, moment]
    assert subprocess.run(command, check=False).returncode == -9

    assert stored(full) == left


def test_a_retry_and_a_replacement_go_past_the_outbox(
    full: FullResult, postgresql_url: str
) -> None:
    """Both are exceptions, which roll the transaction back."""
    found = []

    def work(self: Task, how: str) -> None:
        with psycopg.connect(postgresql_url) as connection, full.outbox(connection) as box:
            publish(full, task_id=f"child of {how}")
            found.append(box)
            if how == "retry":
                raise self.retry(countdown=0)
            self.replace(signature("shop.other", app=full.app))

    app: Celery = full.app
    task = app.task(name="shop.work", bind=True)(work)
    for how, error in (("retry", Retry), ("replace", Ignore)):
        _state._task_stack.push(task)
        task.push_request(id=how, args=(how,), kwargs={}, called_directly=False, delivery_info={})
        try:
            with pytest.raises(error):
                task.run(how)
        finally:
            task.pop_request()
            _state._task_stack.pop()

    assert [box.ids for box in found] == [["child of retry"], ["child of replace"]]
    assert stored(full) == []
    assert received(app, "celery") == ["retry", "replace"]


# --- Asynchronous


def test_asynchronous_tasks_are_written_together_as_the_block_ends(
    full: FullResult, postgresql_url: str
) -> None:
    async def place() -> list[list[str]]:
        seen = []
        connection = await psycopg.AsyncConnection.connect(postgresql_url)
        async with connection:
            async with full.outbox(connection) as box:
                publish(full, task_id="a")
                await box.flush()
                publish(full, task_id="b")
                outlives = asyncio.create_task(later())
            seen.append(box.ids)
        await outlives
        return seen

    async def later() -> None:
        await asyncio.sleep(0.05)
        await asyncio.to_thread(publish, full, task_id="direct")

    assert asyncio.run(place()) == [["a", "b"]]
    assert stored(full) == ["a", "b"]
    assert received(full.app, "celery") == ["direct"]


def test_an_asynchronous_block_that_raises_writes_nothing(
    full: FullResult, postgresql_url: str
) -> None:
    async def place() -> None:
        connection = await psycopg.AsyncConnection.connect(postgresql_url)
        async with connection, full.outbox(connection):
            publish(full)
            raise KeyError

    with pytest.raises(KeyError):
        asyncio.run(place())
    assert stored(full) == []


def test_a_savepoint_that_ends_inside_an_asynchronous_block_is_noticed(
    full: FullResult, postgresql_url: str
) -> None:
    async def place() -> None:
        connection = await psycopg.AsyncConnection.connect(postgresql_url)
        async with (
            connection,
            connection.transaction(),
            full.outbox(connection),
            connection.transaction(),
        ):
            publish(full)

    with pytest.raises(RuntimeError, match="inside the savepoint"):
        asyncio.run(place())
    assert stored(full) == []


def test_an_asynchronous_connection_is_awaited(full: FullResult, postgresql_url: str) -> None:
    async def place() -> None:
        async with await psycopg.AsyncConnection.connect(postgresql_url) as connection:
            with pytest.raises(TypeError, match="async with"), full.outbox(connection):
                pass

    asyncio.run(place())
