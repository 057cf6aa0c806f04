"""PostgreSQL's partitions: the contract is kept, and what has expired is gone at once."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg
import pytest
from celery import Celery
from celery.exceptions import ImproperlyConfigured

from fullresult.config import Settings
from fullresult.plugins import open_storage
from fullresult.record import FAILURE, STARTED, SUCCESS, TaskRecord, merge
from fullresult.record.resent import mark
from fullresult.storage import PartitionedStorage, Storage, StorageError, TaskQuery
from fullresult.testing import StorageSuite, samples
from fullresult.testing.delete_expired import Expiring
from fullresult.testing.fixtures import Fixtures
from fullresult.testing.runs import Runs
from fullresult_storage_sql.postgresql import PostgreSQL
from fullresult_storage_sql.storage import SqlStorage
from tests.kit import servers
from tests.kit.workers import until

if TYPE_CHECKING:
    from fullresult_storage_sql.database import Database

DAY = timedelta(days=1)
MAKE = """
CREATE TABLE IF NOT EXISTS {table}_moved (LIKE {table} INCLUDING DEFAULTS INCLUDING GENERATED);
ALTER TABLE {table} ATTACH PARTITION {table}_moved FOR VALUES FROM ('2030-01-01') TO ('2030-01-02');
"""
MOVE = """
WITH moved AS (
    UPDATE fullresult_task AS t SET expires_on = '2030-01-01'
    WHERE t.expires_on = 'infinity' AND t.task_id = ANY(ARRAY(
        SELECT w.task_id FROM fullresult_task AS w
        WHERE w.expires_on = 'infinity' AND NOT w.open AND w.state <> 'SCHEDULED'
            AND NOT EXISTS (
                SELECT 1 FROM fullresult_task AS o
                WHERE o.task_id = w.task_id AND o.expires_on < 'infinity'
            )
        FOR UPDATE SKIP LOCKED
    ))
    RETURNING t.task_id
),
entries AS (
    UPDATE fullresult_execution AS e SET expires_on = '2030-01-01'
    FROM moved WHERE e.task_id = moved.task_id AND e.expires_on = 'infinity'
)
SELECT count(*) FROM moved
"""
_numbers = count()


def partitioned(url: str) -> Storage:
    return open_storage(Settings(storage=url, partition=DAY))


class Moving(SqlStorage):
    """Before each call, whatever has ended is moved, however soon it may be written again."""

    def setup(self) -> None:
        super().setup()
        for table in ("fullresult_task", "fullresult_execution"):
            if self._database.ask("SELECT to_regclass(%s)", [f"{table}_moved"])[0][0] is not None:
                continue
            self._database._server.run(  # type: ignore[attr-defined]
                lambda session, table=table: session.execute(MAKE.format(table=table).encode())
            )

    def _prepared(self) -> Database:
        database = super()._prepared()
        database.ask(MOVE, ())
        return database


def moving(url: str) -> Storage:
    database = PostgreSQL(url, timeout=timedelta(seconds=5), pool_size=10, partition=DAY)
    return Moving(database, auto_setup=False)


@pytest.fixture(scope="module")
def database(postgresql_server: str) -> Iterator[str]:
    with servers.postgresql_database(postgresql_server) as url:
        yield url


class InSchemas(Fixtures):
    __test__: ClassVar[bool] = False

    @pytest.fixture
    def url(self, database: str) -> str:
        schema = f"test_{next(_numbers)}"
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {schema}")
        return f"{database}?options=-csearch_path%3D{schema}"


@pytest.mark.campaign
class TestPartitioned(InSchemas, StorageSuite):
    __test__ = True

    @staticmethod
    def open_storage(url: str) -> Storage:
        return partitioned(url)


@pytest.mark.campaign
class TestMoved(InSchemas, StorageSuite):
    """The same of which any part may lie anywhere."""

    __test__ = True

    @staticmethod
    def open_storage(url: str) -> Storage:
        return moving(url)


for _name in vars(Expiring):
    if _name.startswith("test_"):  # what was moved is not deleted, but dropped
        setattr(TestMoved, _name, None)


@pytest.mark.slow
class TestRunsThatWereMoved(InSchemas, Runs):
    __test__ = True

    @staticmethod
    def open_storage(url: str) -> Storage:
        return moving(url)


@pytest.fixture
def storage(postgresql_url: str) -> Iterator[Any]:
    storage = partitioned(postgresql_url)
    storage.setup()
    yield storage
    storage.close()


def ended(task_id: str, expires: datetime, **parts: Any) -> TaskRecord:
    outcome = samples.outcome(SUCCESS)._replace(open=False, expire_at=expires)
    return samples.event(task_id, outcome=outcome, message=samples.message(), **parts)


def where(url: str) -> dict[str, str]:
    """The partition of each record."""
    with psycopg.connect(url) as session:
        found = session.execute("SELECT task_id, tableoid::regclass::text FROM fullresult_task")
        return {task_id: table.removeprefix("fullresult_task_") for task_id, table in found}


def execute(url: str, *statements: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as session:
        for statement in statements:
            answer = session.execute(statement.encode())
        return answer.fetchall() if answer.description else []


NOW = datetime(2040, 5, 1, 12, tzinfo=timezone.utc)
"""Long after all that the samples tell."""


def test_what_ended_lies_by_the_day_on_which_it_expires_and_goes_with_it(
    storage: Any, postgresql_url: str
) -> None:
    entry = samples.entry()
    storage.write([ended("a", NOW + DAY, entries=(entry,)), ended("b", NOW + DAY)])
    storage.write([ended("c", NOW + 2 * DAY), ended("for good", None)])  # type: ignore[arg-type]
    storage.write([ended("in a year", NOW + 366 * DAY), samples.became("open", STARTED)])

    while storage.move_ended(NOW, 2):
        pass

    assert where(postgresql_url) == {
        "a": "20400502",
        "b": "20400502",
        "c": "20400503",
        **dict.fromkeys(["for good", "in a year", "open"], "unmoved"),
    }
    assert storage.get("a").entries == (entry,)
    assert storage.drop_partitions(NOW + DAY) == 0  # not yet: the day is not over
    assert storage.drop_partitions(NOW + 2 * DAY) == 2
    assert sorted(where(postgresql_url)) == ["c", "for good", "in a year", "open"]
    left = "SELECT relname FROM pg_class WHERE relname ~ '_20400502$'"
    assert execute(postgresql_url, left, "SELECT * FROM fullresult_execution") == []


def test_what_was_moved_is_found_counted_and_deleted(storage: Any) -> None:
    storage.write([ended(each, NOW + DAY) for each in ("a", "b")])
    storage.move_ended(NOW, 10)
    storage.write([ended("c", NOW + DAY)])

    found = storage.find(TaskQuery(state=SUCCESS))

    assert sorted(record.task_id for record in found) == ["a", "b", "c"]
    assert storage.count(TaskQuery(state=SUCCESS)) == 3
    assert storage.delete(TaskQuery(task_ids=("a", "c"))) == 2
    assert [record.task_id for record in storage.find(TaskQuery())] == ["b"]


def test_what_is_told_of_a_moved_task_is_told_of_its_record(
    storage: Any, postgresql_url: str
) -> None:
    entry = samples.entry()
    told = ended("a", NOW + DAY, entries=(entry,))
    storage.write([told])
    storage.move_ended(NOW, 10)
    assert told.outcome
    told_later = samples.event("a", resent=mark(told.outcome.stamp, samples.after(9), "b"))

    assert not storage.write([told_later])

    assert storage.get("a") == merge(told, told_later)
    assert where(postgresql_url) == {"a": "unmoved"}


@pytest.mark.parametrize("batch", [1, 2])
def test_an_id_that_somebody_chose_may_be_used_once_more(
    storage: Any, postgresql_url: str, batch: int
) -> None:
    first = [ended(f"nightly-{n}", NOW + DAY) for n in range(batch)]
    storage.write(first)
    storage.move_ended(NOW, 10)
    message = samples.message(samples.after(60))
    second = [samples.event(event.task_id, message=message) for event in first]

    storage.write(second)

    for one, other in zip(first, second, strict=True):
        assert storage.get(one.task_id) == merge(one, other)
    assert set(where(postgresql_url).values()) == {"unmoved"}


def test_two_parts_of_one_task_are_one_before_they_are_moved(
    storage: Any, postgresql_url: str
) -> None:
    """An id of Celery's that is published a day after its end."""
    task_id = str(uuid.uuid4())
    told = ended(task_id, NOW + DAY)
    storage.write([told])
    storage.move_ended(NOW, 10)
    later = samples.outcome(FAILURE, retries=3)._replace(open=False, expire_at=NOW + 2 * DAY)
    again = samples.event(task_id, outcome=later, message=samples.message())
    storage.write([again])
    assert storage.get(task_id) == merge(told, again)
    assert [each.outcome for each in storage.get_results([task_id])] == [merge(told, again).outcome]

    other = partitioned(postgresql_url)
    other.move_ended(NOW + DAY, 10)  # type: ignore[attr-defined]
    other.close()

    assert where(postgresql_url) == {task_id: "20400503"}
    assert storage.get(task_id) == merge(told, again)


def test_a_partition_that_was_detached_and_not_dropped_is_dropped_the_next_time(
    storage: Any, postgresql_url: str
) -> None:
    storage.write([ended("a", NOW + DAY)])
    storage.move_ended(NOW, 10)
    execute(
        postgresql_url,
        "ALTER TABLE fullresult_task DETACH PARTITION fullresult_task_20400502",
        "CREATE TABLE fullresult_task_20400501 AS SELECT 1",  # somebody's own
    )

    storage.drop_partitions(NOW)

    tables = "SELECT relname FROM pg_class WHERE relname ~ '^fullresult_task_2' AND relkind = 'r'"
    assert execute(postgresql_url, tables) == [("fullresult_task_20400501",)]


def test_lengths_may_change(storage: Any, postgresql_url: str) -> None:
    storage.write([ended("a", NOW + 3 * DAY)])
    storage.move_ended(NOW, 10)
    weekly = open_storage(Settings(storage=postgresql_url, partition=7 * DAY))
    assert isinstance(weekly, PartitionedStorage)
    weekly.write([ended(f"b{n}", NOW + n * DAY) for n in range(1, 10)])

    weekly.move_ended(NOW, 20)
    weekly.close()

    lies = where(postgresql_url)
    assert lies["a"] == lies["b3"] == "20400504"
    assert lies["b1"] != lies["b4"]
    assert "unmoved" not in lies.values()


def test_tables_are_partitioned_beside_their_writers(postgresql_url: str) -> None:
    """Writers that began before it go on, with the connections that they have."""
    plain = open_storage(Settings(storage=postgresql_url))
    plain.setup()
    execute(postgresql_url, "CREATE ROLE reader", "GRANT SELECT ON fullresult_task TO reader")
    stop, written = threading.Event(), []

    def write() -> None:
        while not stop.is_set():
            task_id = str(uuid.uuid4())
            plain.write([samples.became(task_id, STARTED)])
            plain.write([ended(task_id, NOW)])
            written.append(task_id)

    with ThreadPoolExecutor(4) as threads:
        writing = [threads.submit(write) for _ in range(4)]
        assert until(lambda: len(written) > 20)
        storage = partitioned(postgresql_url)
        storage.setup()
        reached = len(written)
        assert until(lambda: len(written) > reached + 20)
        stop.set()
        for each in writing:
            each.result()

    assert storage.count(TaskQuery(state=SUCCESS)) == len(written) == len(where(postgresql_url))
    assert set(where(postgresql_url).values()) == {"unmoved"}
    granted = "SELECT has_table_privilege('reader', 'fullresult_task', 'SELECT')"
    assert execute(postgresql_url, granted) == [(True,)]
    execute(postgresql_url, "DROP OWNED BY reader", "DROP ROLE reader")
    storage.setup()  # once more
    storage.close()
    plain.close()


def test_without_the_key_what_was_moved_still_goes(storage: Any, postgresql_url: str) -> None:
    storage.write([ended("a", NOW + DAY)])
    storage.move_ended(NOW, 10)
    plain = open_storage(Settings(storage=postgresql_url))
    assert isinstance(plain, PartitionedStorage)

    plain.write([ended("b", NOW + DAY)])

    assert not plain.move_ended(NOW, 10)
    assert plain.drop_partitions(NOW + 2 * DAY) == 1
    plain.close()


def test_setup_makes_the_partitions(postgresql_url: str) -> None:
    open_storage(Settings(storage=postgresql_url)).setup()
    storage = partitioned(postgresql_url)
    assert isinstance(storage, PartitionedStorage)

    with pytest.raises(StorageError, match="run `celery -A proj fullresult setup`"):
        storage.move_ended(NOW, 10)
    storage.close()


@pytest.mark.parametrize("value", ["90m", "36h", 0])
def test_a_partition_has_whole_days(value: object) -> None:
    app = Celery(set_as_current=False)
    app.conf.fullresult_partition = value

    with pytest.raises(ImproperlyConfigured, match=r"fullresult_partition.*(whole days|longer)"):
        Settings.of(app)


@pytest.mark.parametrize("url", ["sqlite:////tmp/full.db", "mongodb://localhost/tasks"])
def test_no_other_database_has_them(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="fullresult_partition is for PostgreSQL"):
        partitioned(url)
