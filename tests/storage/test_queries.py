"""What is found among many records, and by which index.

Long because two filled databases, which are dear, answer all of them.
"""

from __future__ import annotations

import fnmatch
import json
import re
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import psycopg
import pytest
from celery import Celery

from benchmarks.filling import COMMON_NAME, RARE_NAME, Filled, fill_postgresql, fill_sqlite
from benchmarks.writing import direct_life
from fullresult import FullResult
from fullresult.insight import stale
from fullresult.record import PENDING, STARTED, SUCCESS, Start, TaskRecord
from fullresult.storage import TaskQuery
from fullresult.testing import samples
from fullresult_storage_sql import queries, rows
from fullresult_storage_sql.globs import bounds
from fullresult_storage_sql.storage import SqlStorage
from tests.kit import servers

Test: TypeAlias = Callable[[TaskRecord], bool]

ROWS = 7_000
"""More than any page looks through before it asks another index."""
FILLED = Filled(ROWS)
HALF = FILLED.created(ROWS // 2)
CREATED = "fullresult_task_created"
BUCKET = "fullresult_task_bucket"
OPEN = "fullresult_task_open"
"""SQLite's own; on PostgreSQL, what is open is a bucket."""
NAME = "fullresult_task_name"
ARGUMENTS = "fullresult_task_small_arguments"
_ALL = "SELECT 1 FROM fullresult_task"
LARGE_ARGUMENTS = "fullresult_task_large_arguments"


@pytest.fixture(scope="module")
def postgresql(postgresql_server: str) -> Iterator[SqlStorage]:
    with servers.postgresql_database(postgresql_server) as url:
        storage = ready(url)
        fill_postgresql(url, ROWS)
        yield storage
        storage.close()


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqlStorage]:
    file = tmp_path_factory.mktemp("queries") / "full.db"
    storage = ready(f"sqlite:///{file}", fullresult_index_kwargs=["order_id", "flag"])
    fill_sqlite(Path(file), ROWS)
    yield storage
    storage.close()


@pytest.fixture(params=["postgresql", "sqlite"])
def storage(request: pytest.FixtureRequest) -> SqlStorage:
    found: SqlStorage = request.getfixturevalue(request.param)
    return found


def ready(url: str, **settings: Any) -> SqlStorage:
    app = Celery(set_as_current=False)
    app.conf.update(fullresult_storage=url, **settings)
    storage = FullResult(app).storage
    assert isinstance(storage, SqlStorage)
    storage.setup()
    return storage


ASKED: dict[str, tuple[dict[str, Any], Test]] = {
    "everything": ({}, lambda _: True),
    "state": ({"state": "FAILURE"}, lambda r: r.state == "FAILURE"),
    "states": (
        {"state": ["FAILURE", "REVOKED", "PENDING"]},
        lambda r: r.state in {"FAILURE", "REVOKED", "PENDING"},
    ),
    "not finished": (
        {"not_state": ["SUCCESS", "FAILURE", "REVOKED"]},
        lambda r: r.state in {"PENDING", "STARTED"},
    ),
    "open failures": ({"state": "FAILURE", "open": True}, lambda _: False),
    "open": ({"open": True}, lambda r: r.state in {"PENDING", "STARTED"}),
    "not ended": (
        {"not_state": ["SUCCESS", "STARTED"]},
        lambda r: r.state not in {"SUCCESS", "STARTED"},
    ),
    "name": ({"name": RARE_NAME}, lambda r: r.name == RARE_NAME),
    "common glob": ({"name": "shop.*"}, lambda r: fnmatch.fnmatch(str(r.name), "shop.*")),
    "rare glob": ({"name": "*_1[!0-8]"}, lambda r: fnmatch.fnmatch(str(r.name), "*_1[!0-8]")),
    "glob of failures": (
        {"name": "media.*", "state": "FAILURE"},
        lambda r: r.state == "FAILURE" and str(r.name).startswith("media."),
    ),
    "glob and states": (
        {"name": "media.*", "state": ["FAILURE", "REVOKED"]},
        lambda r: r.state in {"FAILURE", "REVOKED"} and str(r.name).startswith("media."),
    ),
    "unknown glob": ({"name": "nothing.*"}, lambda _: False),
    "one order": ({"kwargs": {"order_id": 7}}, lambda r: r.kwargs["order_id"] == 7),
    "a flag": ({"kwargs": {"flag": True}}, lambda r: r.kwargs["flag"] is True),
    "old ones": ({"kwargs": {"plan": "old"}}, lambda r: r.kwargs["plan"] == "old"),
    "kwargs and glob": (
        {"kwargs": {"flag": False}, "name": "sync.*.pull"},
        lambda r: r.kwargs["flag"] is False and str(r.name).startswith("sync."),
    ),
    "kwargs of failures": (
        {"kwargs": {"plan": "old"}, "state": "FAILURE"},
        lambda r: r.kwargs["plan"] == "old" and r.state == "FAILURE",
    ),
    "kwargs of a name": (
        {"kwargs": {"batch": 5}, "name": COMMON_NAME},
        lambda r: r.kwargs["batch"] == 5 and r.name == COMMON_NAME,
    ),
    "args": ({"args": [5]}, lambda r: r.args[0] == 5),
    "root": ({"root_id": "root-35"}, lambda r: r.root_id == "root-35"),
    "its own root": (
        {"root_id": FILLED.task_id(5)},
        lambda r: r.task_id == r.root_id == FILLED.task_id(5),
    ),
    "group": ({"group_id": "group-3"}, lambda r: r.group_id == "group-3"),
    "recent kwargs": (
        {"kwargs": {"flag": True}, "since": HALF},
        lambda r: r.kwargs["flag"] is True and r.date_created >= HALF,
    ),
    "earlier glob": (
        {"name": "reports.*", "until": HALF},
        lambda r: str(r.name).startswith("reports.") and r.date_created < HALF,
    ),
}


@pytest.fixture(scope="module")
def everything(postgresql: SqlStorage) -> list[TaskRecord]:
    return postgresql.find(TaskQuery(limit=None))


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("asked", ASKED)
def test_every_page_is_what_a_look_at_every_record_finds(
    storage: SqlStorage, everything: list[TaskRecord], asked: str, order: Any
) -> None:
    filters, fits = ASKED[asked]
    expected = [record.task_id for record in everything if fits(record)]
    if order == "oldest":
        expected.reverse()

    first = storage.find(TaskQuery(**filters, order=order, limit=30))
    after = first[-1].cursor if first else None
    second = storage.find(TaskQuery(**filters, order=order, limit=30, after=after))
    whole = storage.find(TaskQuery(**filters, order=order, limit=None))

    assert [record.task_id for record in first] == expected[:30]
    assert [record.task_id for record in second] == expected[30:60] if after else not second
    assert [record.task_id for record in whole] == expected
    assert storage.count(TaskQuery(**filters)) == len(expected)


GLOBS = [asked for asked in ASKED if "glob" in asked]


@pytest.mark.parametrize("bound", [("_NAMES", 4), ("_MATCHING", 1)])
@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("asked", GLOBS)
def test_a_glob_finds_the_same_where_there_are_too_many_names_to_try_each(
    storage: SqlStorage,
    everything: list[TaskRecord],
    asked: str,
    order: Any,
    bound: tuple[str, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queries, *bound)
    filters, fits = ASKED[asked]
    expected = [record.task_id for record in everything if fits(record)]
    if order == "oldest":
        expected.reverse()

    found = storage.find(TaskQuery(**filters, order=order, limit=30))

    assert [record.task_id for record in found] == expected[:30]


@pytest.mark.parametrize("pattern", ["nightly.*", "nothing.*", "*_1[!0-8]", "shop.*"])
def test_only_names_that_begin_as_a_glob_does_are_tried(storage: SqlStorage, pattern: str) -> None:
    """Of 100,000 names, made at run time, each would cost a step."""
    least, beyond = bounds(pattern)
    plan = explain(storage, TaskQuery(name=pattern))

    assert ("name<?" in plan or f"name < '{beyond}'" in plan) == (beyond is not None)
    assert all(
        least <= name and (beyond is None or name < beyond)
        for name in {RARE_NAME, "shop.mail.send", "media.images.resize_19"}
        if fnmatch.fnmatch(name, pattern)
    )


STALE = stale.stale_query(FILLED.end - timedelta(days=1), None, None)
STALE_BUT = stale.stale_query(FILLED.end - timedelta(days=1), ["SUCCESS", "FAILURE"], None)


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (TaskQuery(), CREATED),
        (TaskQuery(state="SUCCESS"), CREATED),
        (TaskQuery(since=HALF, after=f"{HALF.isoformat()}|x"), CREATED),
        (TaskQuery(state="FAILURE"), BUCKET),
        (TaskQuery(state=["FAILURE", "IGNORED"]), BUCKET),
        (TaskQuery(state="STARTED"), OPEN),
        (TaskQuery(name="reports.build_3"), NAME),
        (TaskQuery(name="nightly.*"), NAME),
        (TaskQuery(root_id="root-1"), "fullresult_task_root"),
        (TaskQuery(group_id="group-1"), "fullresult_task_group"),
        (TaskQuery(retry_of="x"), "fullresult_task_retry_of"),
        (STALE, OPEN),
        (STALE_BUT, BUCKET),
        (TaskQuery(state=["FAILURE", "STARTED"], limit=None), BUCKET),
        (TaskQuery(state=["FAILURE", "STARTED"], limit=None), OPEN),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_an_index_answers(storage: SqlStorage, query: TaskQuery, index: str) -> None:
    plan = explain(storage, query)

    assert named(storage, index) in plan
    assert not reads_the_table(plan)


@pytest.mark.parametrize(
    "query",
    [
        TaskQuery(kwargs={"order_id": 7}),
        TaskQuery(kwargs={"shipping": {"zip": 7}}),
        TaskQuery(kwargs={"order_id": 7}, name="shop.*", state="FAILURE"),
        TaskQuery(args=[7, "x"]),
    ],
)
def test_an_index_answers_for_arguments_on_postgresql(
    postgresql: SqlStorage, query: TaskQuery
) -> None:
    plan = explain(postgresql, query)

    assert ARGUMENTS in plan
    assert LARGE_ARGUMENTS in plan
    assert not reads_the_table(plan)


def test_the_planner_knows_that_few_arguments_are_large(postgresql: SqlStorage) -> None:
    """It would take a third of them for large, and read a table of ten million for the few."""
    database: Any = postgresql._database
    either = database.sql["small_or_large"].split("\nOR ")

    small, large = (database.ask(f"EXPLAIN {_ALL} AS t WHERE {each}", [])[0][0] for each in either)

    assert rows_of(small) > 0.9 * ROWS
    assert rows_of(large) < 0.01 * ROWS


def rows_of(plan: str) -> int:
    """The number of rows that the planner expects."""
    found = re.search(r"rows=(\d+)", plan)
    assert found, plan
    return int(found[1])


def test_large_arguments_are_found_and_in_no_index(postgresql_url: str) -> None:
    """Of 200 kB an index would have 600, and each write of it log 1.9 MB."""
    storage = ready(postgresql_url)
    many = {f"key {number}": f"value {number}" for number in range(6_000)}
    for number in range(5):
        kwargs = {**many, "order": number}
        body = json.dumps([[], kwargs, {}]).encode()
        message = samples.message(args=[], kwargs=kwargs, body=body)
        hidden = message._replace(body=None)
        small = samples.message(args=[], kwargs={"order": number}, body=b"[[], {}, {}]")
        for name, each in {"large": message, "no body": hidden, "small": small}.items():
            outcome = samples.outcome(PENDING)
            storage.write([samples.event(f"{name} {number}", outcome=outcome, message=each)])

    found = storage.find(TaskQuery(kwargs={"order": 3}))

    assert {record.task_id for record in found} == {"large 3", "no body 3", "small 3"}
    with psycopg.connect(postgresql_url) as connection:
        connection.execute("SELECT gin_clean_pending_list(%s::regclass)", [ARGUMENTS])
        row = connection.execute("SELECT pg_relation_size(%s::regclass)", [ARGUMENTS]).fetchone()
    assert row is not None
    assert row[0] < 100_000
    storage.close()


@pytest.mark.parametrize("kwargs", [{"order_id": 7}, {"flag": True}, {"order_id": 7, "x": 1}])
@pytest.mark.parametrize("name", [None, COMMON_NAME, "shop.*"])
def test_an_index_answers_for_named_keys_on_sqlite(
    sqlite: SqlStorage, kwargs: dict[str, Any], name: str | None
) -> None:
    plan = explain(sqlite, TaskQuery(kwargs=kwargs, name=name))

    assert f"fullresult_kwarg_{next(iter(kwargs))}" in plan
    assert not reads_the_table(plan)


@pytest.mark.parametrize("days", [1, 15, 30])
def test_a_sample_is_read_along_the_index_of_dates(storage: SqlStorage, days: int) -> None:
    """However long the time is: no further than to the last one that is answered."""
    since = FILLED.end - timedelta(days=days)
    values = [rows.date_text(since), rows.date_text(FILLED.end), 100]

    plan = plan_of(storage, storage._database.sql["sample"], values)

    assert CREATED in plan
    assert not reads_the_table(plan)
    assert not {"Sort", "USE TEMP B-TREE FOR ORDER BY"} & {*plan.splitlines()}


def test_most_starts_change_no_index(postgresql_url: str) -> None:
    """PostgreSQL puts the new row beside the old one if there is room, and writes nothing else."""
    storage = ready(postgresql_url)
    life = direct_life(storage)

    for _ in range(100):
        next(life)

    storage.close()  # So that its counters are told.
    updated, in_place = updates(postgresql_url, 200)
    assert updated == 200
    assert in_place > 50


def test_a_start_writes_its_record_and_nothing_else_on_sqlite(tmp_path: Path) -> None:
    """SQLite writes whole pages, and one for each index that names a column which is set."""
    file = tmp_path / "records.db"
    storage = ready(f"sqlite:///{file}")
    published, started, _ = life_of_a_task()
    storage.write([published])
    written(file)

    storage.write([started])

    assert written(file) == 1
    storage.close()


def test_an_end_on_sqlite_writes_its_record_and_that_it_is_not_open(tmp_path: Path) -> None:
    file = tmp_path / "records.db"
    storage = ready(f"sqlite:///{file}")
    published, started, succeeded = life_of_a_task()
    storage.write([published])
    storage.write([started])
    written(file)

    storage.write([succeeded])

    assert written(file) == 2
    storage.close()


def written(file: Path) -> int:
    """How many pages were written since the last call."""
    with closing(sqlite3.connect(file)) as connection:
        _, pages, _ = connection.execute("PRAGMA wal_checkpoint").fetchone()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return int(pages)


def life_of_a_task() -> Iterator[TaskRecord]:
    """What is told of a task that is published, started and succeeds."""
    now, start, end = (samples.after(second * 1000) for second in range(3))
    published = samples.outcome(PENDING, now)
    yield samples.event("a", now, outcome=published, message=samples.message(now, args=[7]))
    started = samples.outcome(STARTED, start, worker="w", date_started=start)
    first = Start(started.stamp, "w", start)
    yield samples.event("a", start, outcome=started, start=first)
    yield samples.event("a", end, outcome=samples.outcome(SUCCESS, end, result="{}"))


def updates(url: str, expected: int) -> tuple[int, int]:
    """How many rows were updated, and how many of them without touching an index."""
    counters = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = %s"
    deadline = time.monotonic() + 20
    while True:
        with psycopg.connect(url) as connection:
            row = connection.execute(counters, ["fullresult_task"]).fetchone()
        assert row is not None
        if row[0] >= expected or time.monotonic() > deadline:
            return row[0], row[1]


def named(storage: SqlStorage, index: str) -> str:
    return BUCKET if index == OPEN and storage._database.placeholder == "%s" else index


def explain(storage: SqlStorage, query: TaskQuery) -> str:
    """The plan, a line for each step."""
    database = storage._database
    page, values = queries.select(database, query)
    return plan_of(storage, f"{database.sql['select']}{page}", values)


def plan_of(storage: SqlStorage, statement: str, values: Sequence[Any]) -> str:
    database = storage._database
    postgresql = database.placeholder == "%s"
    how = "EXPLAIN" if postgresql else "EXPLAIN QUERY PLAN"
    lines = database.ask(f"{how} {statement}", values)
    return "\n".join(str(line[0] if postgresql else line[3]) for line in lines)


def reads_the_table(plan: str) -> bool:
    lines = [line.strip() for line in plan.splitlines()]
    return "Seq Scan on fullresult_task" in plan or "SCAN fullresult_task" in lines
