"""On MongoDB, a page of the tasks that a glob matches is looked for among the nearest first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pymongo
import pytest

from fullresult.storage import TaskQuery
from fullresult.testing import samples
from fullresult_storage_mongo import storage as mongo_storage
from fullresult_storage_mongo.storage import MongoStorage
from tests.kit.mongo import using

RECORDS, WALKED = 120, 20
NAMES = ("shop.pay", "mail.send", "mail.pack", "rare.one")
"""Of 120 tasks by turns one of the first three, and the oldest is the last."""


@pytest.fixture
def storage(mongodb_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[MongoStorage]:
    monkeypatch.setattr(mongo_storage, "_WALKED", WALKED)
    with using(mongodb_url) as storage:
        storage.setup()
        storage.write(
            [
                samples.task(f"{n:03}", samples.after(n), name=NAMES[n % 3] if n else NAMES[3])
                for n in range(RECORDS)
            ]
        )
        yield storage


@contextmanager
def commands(url: str) -> Iterator[list[dict[str, Any]]]:
    """What the server did to the records within: its own account, filled in at the end."""
    told: list[dict[str, Any]] = []
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        database = client.get_default_database()
        database.command("profile", 2)
        try:
            yield told
        finally:
            database.command("profile", 0)
        told += database["system.profile"].find({"ns": f"{database.name}.fullresult_task"})


def looked_at(told: list[dict[str, Any]], kind: str) -> list[int]:
    return [each["docsExamined"] for each in told if kind in each["command"]]


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_where_many_names_match_no_name_is_asked_for(
    mongodb_url: str, storage: MongoStorage, order: Any
) -> None:
    query = TaskQuery(name="mail.*", limit=5, order=order)

    with commands(mongodb_url) as told:
        found = storage.find(query)

    assert len(found) == 5
    assert all(record.message and str(record.message.name).startswith("mail") for record in found)
    assert looked_at(told, "aggregate") != []
    assert max(looked_at(told, "aggregate")) <= WALKED
    assert looked_at(told, "distinct") == looked_at(told, "find") == []


def test_what_is_rare_costs_no_more_than_the_bound_before_its_name_is_asked_for(
    mongodb_url: str, storage: MongoStorage
) -> None:
    with commands(mongodb_url) as told:
        found = storage.find(TaskQuery(name="rare.*", limit=5))

    assert [record.task_id for record in found] == ["000"]
    assert looked_at(told, "aggregate") == [WALKED]
    assert looked_at(told, "find") == [1]


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("pattern", ["mail.*", "*.p*", "rare.*", "nothing.*"])
def test_pages_have_the_same_tasks_as_without_the_bound(
    storage: MongoStorage, order: Any, pattern: str
) -> None:
    """Also those that begin within the bound and end beyond it."""
    query = TaskQuery(name=pattern, order=order)
    all_of_them = [record.task_id for record in storage.find(query)]

    for limit in (1, 7, 13, 14, 100):
        assert all_pages(storage, replace(query, limit=limit)) == all_of_them


def all_pages(storage: MongoStorage, query: TaskQuery) -> list[str]:
    found: list[str] = []
    while page := storage.find(query):
        found += [record.task_id for record in page]
        query = replace(query, after=page[-1].cursor)
    return found
