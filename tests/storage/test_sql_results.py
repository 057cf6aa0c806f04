"""Results and expiry in SQL: what it costs, what waits for whom, and answers that are lost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from fullresult import plugins
from fullresult.config import Settings
from fullresult.record import SUCCESS
from fullresult.storage import Storage, StorageError
from fullresult.testing import open_storage, samples
from fullresult_storage_sql import postgresql_statements, statements
from fullresult_storage_sql.storage import SqlStorage
from tests.kit import servers
from tests.kit.counting import LostAnswers, end, publish
from tests.kit.proxy import Proxy, proxy

_SQL = statements.read("postgresql.sql")
_FILL = """
    INSERT INTO fullresult_task (task_id, date_created, date_updated, state, expire_at)
    SELECT 'id ' || i, now(), now(), 'SUCCESS',
        CASE WHEN mod(i, 2) = 0 THEN timestamptz '2999-01-31 12:00:00+00' END
    FROM generate_series(1, %s) AS i
"""

_LOCK = "BEGIN; LOCK TABLE fullresult_task IN ACCESS EXCLUSIVE MODE"


@pytest.fixture
def storage(postgresql_url: str) -> Iterator[SqlStorage]:
    storage = open_storage(postgresql_url)
    assert isinstance(storage, SqlStorage)
    storage.setup()
    yield storage
    storage.close()


@pytest.fixture
def session(
    postgresql_url: str,
    storage: Storage,  # noqa: ARG001  (the schema is there)
) -> Iterator[psycopg.Connection[Any]]:
    """Somebody else's connection."""
    with psycopg.connect(postgresql_url, autocommit=True) as session:
        yield session


@pytest.fixture
def between(
    postgresql_url: str,
    storage: SqlStorage,  # noqa: ARG001  (the schema is there)
) -> Iterator[tuple[Proxy, SqlStorage]]:
    """A proxy, and a storage that is reached through it."""
    known = conninfo_to_dict(postgresql_url)
    with proxy(servers.HOST, int(str(known["port"]))) as network:
        url = postgresql_url.replace(f":{known['port']}/", f":{network.port}/")
        through = open_storage(url)
        assert isinstance(through, SqlStorage)
        through.now()
        yield network, through
        through.close()


def ended(task_id: str) -> Any:
    return samples.task(task_id, expire_at=samples.EXPIRY)


def test_what_another_writes_right_now_is_left_and_not_waited_for(
    storage: SqlStorage, session: psycopg.Connection[Any]
) -> None:
    storage.write([ended("a"), ended("b")])

    with session.transaction():
        session.execute("UPDATE fullresult_task SET expire_at = NULL WHERE task_id = 'a'")
        began = time.monotonic()
        deleted = storage.delete_expired(samples.EXPIRY, 10)

    assert deleted == 1
    assert time.monotonic() - began < 2
    assert storage.delete_expired(samples.EXPIRY, 10) == 0
    assert storage.get("a") is not None


def test_a_purge_may_take_its_time_to_find_where_it_begins(
    storage: SqlStorage, postgresql_url: str, session: psycopg.Connection[Any]
) -> None:
    """As it does after millions were deleted. Here nobody may read the table for a while."""
    storage.write([ended("a"), ended("b"), ended("c")])
    settings = Settings(storage=postgresql_url, storage_timeout=timedelta(milliseconds=300))

    def let_go() -> None:
        time.sleep(1)
        session.execute("ROLLBACK")

    with closing(plugins.open_storage(settings)) as hasty, ThreadPoolExecutor(1) as pool:
        session.execute(_LOCK)
        waiting = pool.submit(let_go)
        deleted = hasty.delete_expired(samples.EXPIRY, 2)
        waiting.result()
        session.execute(_LOCK)
        with pytest.raises(StorageError, match="timeout"):
            hasty.delete_expired(samples.EXPIRY, 2)
        session.execute("ROLLBACK")

    assert deleted == 2


@pytest.mark.parametrize("since", ["-infinity", "2026-01-01"])
@pytest.mark.parametrize("analyzed", [True, False])
def test_what_expired_is_found_along_its_index(
    session: psycopg.Connection[Any], analyzed: bool, since: str
) -> None:
    session.execute(_FILL, [3000])
    if analyzed:
        session.execute("ANALYZE fullresult_task")

    with session.transaction():
        session.execute(_SQL["prefer_index"])
        values = [since, samples.EXPIRY, 500]
        answer = session.execute(f"EXPLAIN (FORMAT json) {_SQL['lock_expired']}", values).fetchall()

    plan = json.dumps(answer)
    assert "fullresult_task_expire" in plan
    assert "Sort" not in plan


@pytest.mark.parametrize(
    "sql", [*postgresql_statements.ENDED.values(), postgresql_statements.RESULTS]
)
def test_results_are_found_by_their_ids(session: psycopg.Connection[Any], sql: str) -> None:
    """Also by the plan that a prepared statement has in the end, which is for any ids."""
    session.execute(_FILL, [20_000])
    session.execute("ANALYZE fullresult_task")
    session.execute("SET plan_cache_mode = force_generic_plan")
    session.execute(f"PREPARE asked AS {sql}".encode())

    answer = session.execute(b"EXPLAIN (FORMAT json) EXECUTE asked('{id 1,id 2}')").fetchall()

    assert "fullresult_task_pkey" in json.dumps(answer)


def test_what_does_not_expire_is_in_no_index_of_expiry(
    storage: SqlStorage, session: psycopg.Connection[Any]
) -> None:
    storage.write([samples.task(f"{number:03}") for number in range(500)])

    session.execute("VACUUM fullresult_task")

    sql = "SELECT reltuples FROM pg_class WHERE relname = 'fullresult_task_expire'"
    assert session.execute(sql).fetchall() == [(0,)]


def test_joining_a_chord_updates_one_row_in_place(
    storage: SqlStorage, session: psycopg.Connection[Any]
) -> None:
    """Were an index written each time, it would have a thousand versions of the row."""
    for number in range(300):
        storage.join_chord("a", f"{number}", 300, samples.expiry(number))
    storage.close()  # a session that ends tells its statistics

    sql = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = %s"
    until(lambda: session.execute(sql, ["fullresult_chord"]).fetchall()[0][0] == 299)
    ((_, in_place),) = session.execute(sql, ["fullresult_chord"]).fetchall()

    assert in_place > 290


def test_who_joins_a_chord_that_is_being_forgotten_is_not_counted(
    storage: SqlStorage, session: psycopg.Connection[Any]
) -> None:
    for member in "12":
        storage.join_chord("a", member, 4, None)

    with ThreadPoolExecutor(1) as thread:
        with session.transaction():
            session.execute(_SQL["forget_chord"], ["a"])
            joining = thread.submit(storage.join_chord, "a", "3", 2, None)
            until(lambda: is_waiting(session))
        joined = joining.result(10)

    assert not joined
    assert storage.begin_chord("a", 2, "", None) == 2
    answers = [storage.join_chord("a", member, None, None) for member in "3145"]
    assert answers == [False, False, False, True]


class TestLostAnswers(LostAnswers):
    words = b"the chord"


def test_a_member_that_was_never_told_is_no_more_than_a_storage_error(
    storage: SqlStorage, session: psycopg.Connection[Any]
) -> None:
    session.execute("DROP TABLE fullresult_chord_member")

    with pytest.raises(StorageError) as raised:
        storage.join_chord("a", "1", 2, None)

    assert type(raised.value) is StorageError


def test_without_prepared_statements_the_end_of_a_member_is_counted_as_well(
    postgresql_url: str, storage: SqlStorage
) -> None:
    sign = "&" if "?" in postgresql_url else "?"
    unprepared = open_storage(f"{postgresql_url}{sign}prepare=off")
    assert isinstance(unprepared, SqlStorage)
    publish(storage, "1")

    told = [end(unprepared, member) for member in "112"]

    unprepared.close()
    assert told == [False, False, True]
    assert sorted(record.state for record in storage.get_ended(["1", "2"])) == [SUCCESS] * 2


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_waiting(session: psycopg.Connection[Any]) -> bool:
    sql = (
        "SELECT 1 FROM pg_stat_activity "
        "WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    return bool(session.execute(sql).fetchall())
