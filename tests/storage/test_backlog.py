"""What is open is found however much waits before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pymongo
import pytest

from fullresult.config import Settings
from fullresult.insight import counts, search
from fullresult.insight.needing import needing
from fullresult.insight.stale import stale_query
from fullresult.record import FAILURE, PENDING, RETRY, STARTED, TaskRecord, pages
from fullresult.storage import TaskQuery, parts
from fullresult.testing import samples
from fullresult_storage_mongo import queries
from tests.kit import workers
from tests.storage.test_rolling_upgrade import opened

WAITING = 400
AMONG = {20: STARTED, 21: RETRY, 199: STARTED, 200: STARTED, 399: STARTED}
"""By their places in time, those that do not just wait."""


def backlog() -> list[TaskRecord]:
    """Four were made at any moment."""
    return [
        samples.became(f"{n:03}", AMONG.get(n, PENDING), samples.after(n // 4))
        for n in range(WAITING)
    ]


@pytest.fixture(params=workers.storages("sqlite", "postgresql", "mongodb"))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with workers.storage(request.param, request, tmp_path) as url:
        yield url


@pytest.fixture
def storage(url: str) -> Iterator[Any]:
    with closing(opened(url)) as storage:
        storage.setup()
        storage.write(backlog())
        yield storage


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
@pytest.mark.parametrize("asked", [{"state": STARTED}, {"open": True, "not_state": (PENDING,)}])
def test_it_is_found_part_by_part(
    storage: Any, order: Any, limit: int, asked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "LOOKED", 7)
    expected = [f"{n:03}" for n, state in AMONG.items() if "open" in asked or state == STARTED]
    if order == "newest":
        expected.reverse()

    query = TaskQuery(**asked, order=order, limit=limit)
    found = [record.task_id for record in pages.walk(storage.find, query)]

    assert found == expected


def test_no_statement_reads_more_than_a_part(storage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    if storage.has_index(TaskQuery(state=STARTED)):
        pytest.skip("an index has them alone")
    walk = storage.walk

    def noted(query: TaskQuery, most: int) -> Any:
        looked.append(most)
        return walk(query, most)

    monkeypatch.setattr(parts, "LOOKED", 50)
    monkeypatch.setattr(storage, "walk", noted)

    storage.find(TaskQuery(state=STARTED))

    assert looked == [50] * (WAITING // 50 + 1)


def test_an_index_has_them_alone_on_mongodb(url: str, storage: Any) -> None:
    if not url.startswith("mongodb"):
        pytest.skip("each start would write that index")
    asked = {"$and": [{"bucket": {"$in": ["OPEN"]}}, {"state": {"$in": [STARTED]}}]}
    find = {"find": "fullresult_task", "filter": asked, "sort": {"date_created": -1, "_id": -1}}
    with pymongo.MongoClient[Any](url) as client:
        database = client.get_default_database()
        plan = database.command("explain", find, verbosity="executionStats")

    assert storage.has_index(TaskQuery(state=STARTED))
    assert plan["executionStats"]["totalKeysExamined"] == 4


def test_an_index_has_what_does_not_just_wait_on_mongodb(url: str, storage: Any) -> None:
    if not url.startswith("mongodb"):
        pytest.skip("each start would write that index")
    query = TaskQuery(open=True, not_state=(PENDING,), order="oldest", limit=100)

    with pymongo.MongoClient[Any](url) as client:
        tasks = client.get_default_database()["fullresult_task"]
        handle: Any = SimpleNamespace(tasks=tasks)
        found = tasks.find(queries.page(handle, query), hint=queries.hint(query), limit=100)
        plan = found.sort(queries.order(query)).explain()
        tasks.drop_index(queries.MOVING)
        without = [record.task_id for record in storage.find(query)]

    assert plan["executionStats"]["totalKeysExamined"] == len(AMONG)
    assert without == [f"{n:03}" for n in AMONG]


def due_tomorrow() -> list[TaskRecord]:
    """A few of them should have moved long ago."""
    tomorrow = samples.NOON + timedelta(days=1)
    return [
        samples.became(
            f"{n:03}",
            PENDING,
            samples.after(n // 4),
            stale_from=samples.after(n // 4) if n in AMONG else tomorrow,
        )
        for n in range(WAITING)
    ]


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_what_is_stale_is_found_among_what_is_due_tomorrow(
    url: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "LOOKED", 7)
    query = stale_query(samples.NOON + timedelta(hours=1), None, limit)
    with closing(opened(url)) as storage:
        storage.write(due_tomorrow())
        found = [record.task_id for record in pages.walk(storage.find, query)]

    assert found == [f"{n:03}" for n in AMONG]


def dealt_with() -> list[TaskRecord]:
    """Failures of which all but a few were sent again."""
    failed = [samples.became(f"{n:03}", FAILURE, samples.after(n // 4)) for n in range(WAITING)]
    again = [
        each.sent_again(f"new {each.task_id}", samples.after(WAITING))
        for n, each in enumerate(failed)
        if n not in AMONG
    ]
    return [*failed, *(each for each in again if each is not None)]


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_failures_are_found_among_those_that_are_dealt_with(
    url: str, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "LOOKED", 7)
    query = TaskQuery(state=FAILURE, unresolved=True, order="oldest", limit=limit)
    with closing(opened(url)) as storage:
        storage.write(dealt_with())
        found = [record.task_id for record in pages.walk(storage.find, query)]

        assert found == [f"{n:03}" for n in AMONG]
        assert not storage.has_index(query)


@pytest.mark.parametrize(
    ("looked", "cap", "expected"),
    [(500, 100, (5, False)), (500, 2, (2, False)), (100, 100, (3, True)), (100, 3, (3, False))],
)
def test_what_is_stale_is_counted_among_the_oldest_and_the_newest(
    url: str,
    looked: int,
    cap: int,
    expected: tuple[int, bool],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counts, "LOOKED", looked)
    with closing(opened(url)) as storage:
        storage.write(due_tomorrow())

        assert counts.count_stale(storage, samples.NOON + timedelta(hours=1), cap) == expected


def test_what_needs_somebody_says_that_not_all_were_looked_at(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "LOOKED", 100)
    with closing(opened(url)) as storage:
        storage.write(due_tomorrow())
        late = storage.now() - (samples.NOON + timedelta(hours=1))
        settings = replace(Settings(), stale_after=late)
        some = needing(storage, settings)
        monkeypatch.setattr(counts, "LOOKED", 500)
        all_of_them = needing(storage, settings)

    assert (some.stale, some.stale_at_least) == (3, True)
    assert (all_of_them.stale, all_of_them.stale_at_least) == (5, False)


def test_what_needs_somebody_is_found_behind_what_was_sent_again(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "LOOKED", 10)
    with closing(opened(url)) as storage:
        stale = [
            samples.task(f"{number:02}", samples.after(number), state=STARTED)
            for number in range(40)
        ]
        storage.write(stale)
        again = [task.sent_again(f"new {task.task_id}", samples.LATEST) for task in stale[:30]]
        storage.write([event for event in again if event is not None])
        late = storage.now() - (samples.NOON + timedelta(hours=1))
        found = needing(storage, replace(Settings(), stale_after=late))

    assert (found.stale, found.stale_at_least) == (10, True)


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_a_look_at_what_is_open_goes_on_from_where_it_stopped(
    storage: Any, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "AT_ONCE", 3)
    query = TaskQuery(state=STARTED, limit=limit)
    found: list[str] = []
    stops = 0

    while page := search.look(storage, query):
        found += [record.task_id for record in page.records]
        stops += page.after is not None
        if page.after is None and len(page.records) < limit:
            break
        query = replace(query, after=page.after or page.records[-1].cursor)

    assert found == ["399", "200", "199", "020"]
    assert storage.has_index(query) == (stops == 0)
