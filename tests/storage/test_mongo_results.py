"""Results and expiry in MongoDB: sizes, what deletes by itself, and answers that are lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pymongo
import pytest
from pymongo.collection import Collection

from fullresult.record import STARTED, SUCCESS
from fullresult.storage import Refused, TaskQuery
from fullresult.testing import samples
from fullresult_storage_mongo.records import MOST_STORED
from fullresult_storage_mongo.storage import MongoStorage
from tests.kit import servers
from tests.kit.counting import LostAnswers, end, publish
from tests.kit.mongo import using
from tests.kit.proxy import Cut, Fault, LoseAnswer, Proxy, once, proxy

pytestmark = pytest.mark.slow

MEGABYTE = 1024 * 1024
Document = dict[str, Any]
PATIENCE = timedelta(seconds=10)


@pytest.fixture
def storage(mongodb_url: str) -> Iterator[MongoStorage]:
    with using(mongodb_url, storage_timeout=PATIENCE) as storage:
        storage.setup()
        yield storage


@pytest.fixture
def client(mongodb_url: str) -> Iterator[pymongo.MongoClient[Document]]:
    with pymongo.MongoClient[Document](mongodb_url) as client:
        yield client


@pytest.fixture
def tasks(client: pymongo.MongoClient[Document]) -> Collection[Document]:
    """The collection as others see it."""
    return client.get_default_database()["fullresult_task"]


@pytest.fixture(params=["replica set", "single server"])
def between(
    request: pytest.FixtureRequest, mongodb_url: str, mongodb_single_server: str
) -> Iterator[tuple[Proxy, MongoStorage]]:
    """A proxy, and a storage that is reached through it."""
    with servers.mongodb_database(mongodb_single_server) as single_url:
        parts = urlsplit(mongodb_url if request.param == "replica set" else single_url)
        with proxy(servers.HOST, parts.port or 0) as network:
            url = f"mongodb://{servers.HOST}:{network.port}{parts.path}?directConnection=true"
            with using(url, storage_timeout=PATIENCE) as through:
                through.setup()
                yield network, through


@pytest.mark.parametrize("others", [[], [samples.task("b")]], ids=["alone", "in a batch"])
def test_a_result_that_is_too_large_is_refused_and_never_cut(
    storage: MongoStorage, others: list[Any]
) -> None:
    storage.write([samples.task("a", state=STARTED)])
    stored = samples.stored(bytes(MOST_STORED + 1))
    end = replace(samples.became("a", SUCCESS), stored=stored)

    with pytest.raises(Refused, match="MongoDB keeps at most"):
        storage.write([end, *others])

    record = storage.get("a")
    assert record is not None
    assert (record.state, record.stored) == (STARTED, None)
    assert storage.count(TaskQuery()) == 1


@pytest.mark.parametrize("first", ["the result", "the rest"])
def test_what_there_is_beside_a_large_result_is_cut_for_it(
    storage: MongoStorage, first: str
) -> None:
    stored = samples.stored(bytes(MOST_STORED))
    rest = samples.task("a", body=bytes(6 * MEGABYTE), result_text="x" * MEGABYTE)
    events = [samples.event("a", stored=stored), rest]

    for event in events if first == "the result" else events[::-1]:
        storage.write([event])
    storage.write([samples.became("a", STARTED, retries=1)])

    record = storage.get("a")
    assert record is not None
    assert record.stored == stored
    assert record.state == STARTED
    assert record.name == "shop.pay"
    assert record.notes["body"].startswith("cut")


def test_the_end_of_a_task_with_its_result_is_one_document_that_mongosh_can_ask(
    storage: MongoStorage, tasks: Collection[Document]
) -> None:
    storage.write([samples.task("a", state="PENDING")])

    storage.write([replace(samples.became("a", SUCCESS), stored=samples.RICH_STORED)])

    found = tasks.find_one({"stored_content_type": samples.RICH_STORED.content_type})
    assert found is not None
    assert found["stored_body"] == samples.RICH_STORED.body
    assert found["state"] == SUCCESS


@pytest.mark.parametrize("batch", [False, True], ids=["alone", "in a batch"])
def test_no_result_is_evaluated(storage: MongoStorage, batch: bool) -> None:
    stored = samples.RICH_STORED._replace(
        body=b"$name", content_type="$$ROOT", content_encoding="$a.b"
    )
    events = [samples.event("a", stored=stored), *[samples.task("b")] * batch]

    storage.write(events)
    storage.write([replace(samples.became("a", SUCCESS), stored=stored), *events[1:]])

    assert [record.stored for record in storage.get_results(["a"])] == [stored]


@pytest.mark.campaign
def test_the_server_deletes_what_expired_by_itself(
    storage: MongoStorage, client: pymongo.MongoClient[Document]
) -> None:
    storage.write([samples.task("a", expire_at=samples.NOON), samples.task("b")])
    storage.write([samples.task("c", expire_at=samples.NOON)])
    storage.write([samples.became("c", STARTED, retries=1)])
    storage.save_group("a", b"", samples.NOON)
    storage.save_group("b", b"", samples.EXPIRY)
    storage.join_chord("a", "1", 2, samples.NOON)
    storage.join_chord("b", "1", 2, None)

    with deleting_often(client):
        until(lambda: storage.get("a") is None)
        until(lambda: storage.restore_group("a") is None)
        until(lambda: client.get_default_database()["fullresult_chord"].count_documents({}) == 1)

    assert {record.task_id for record in storage.find(TaskQuery())} == {"b", "c"}
    assert storage.restore_group("b") == b""
    assert storage.join_chord("b", "2", 2, None)


@contextmanager
def deleting_often(client: pymongo.MongoClient[Document]) -> Iterator[None]:
    """Once a second, not once a minute; perhaps only after the minute that has begun."""
    before = client.admin.command({"getParameter": 1, "ttlMonitorSleepSecs": 1})
    client.admin.command({"setParameter": 1, "ttlMonitorSleepSecs": 1})
    try:
        yield
    finally:
        seconds = before["ttlMonitorSleepSecs"]
        client.admin.command({"setParameter": 1, "ttlMonitorSleepSecs": seconds})


def test_what_expired_is_found_along_an_index_without_the_rest(
    storage: MongoStorage, client: pymongo.MongoClient[Document]
) -> None:
    events = [samples.task(f"{n:03}", expire_at=samples.EXPIRY) for n in range(10)]
    storage.write([*events, *(samples.task(f"{n:03}") for n in range(10, 500))])
    database = client.get_default_database()

    asked = {"expire_at": {"$lte": samples.EXPIRY, "$type": "date"}}
    command = {"find": "fullresult_task", "filter": asked, "sort": {"expire_at": 1}}
    plan = database.command({"explain": command, "verbosity": "executionStats"})
    keys = database.command("validate", "fullresult_task")["keysPerIndex"]

    assert plan["executionStats"]["totalKeysExamined"] <= 11
    assert keys["expiry"] == 10


def test_the_index_of_an_older_version_is_replaced(
    storage: MongoStorage, client: pymongo.MongoClient[Document], tasks: Collection[Document]
) -> None:
    tasks.drop_index("expiry")
    tasks.create_index(
        "expire_at",
        name="expire",
        expireAfterSeconds=0,
        partialFilterExpression={"expire_at": {"$exists": True}},
    )
    versions = client.get_default_database()["fullresult_schema"]
    versions.update_one({"_id": "schema"}, {"$set": {"version": 1}})

    storage.setup()

    assert {"expiry", "expire"} & {*tasks.index_information()} == {"expiry"}


class TestLostAnswers(LostAnswers):
    words = b"findAndModify"


@pytest.mark.parametrize("fault", [LoseAnswer(), Cut(0), Cut(50)], ids=str)
def test_a_member_whose_end_got_no_answer_is_written_and_counted(
    between: tuple[Proxy, MongoStorage], fault: Fault
) -> None:
    network, storage = between
    publish(storage, "2")
    end(storage, "1")

    network.plan = once(b"fullresult_task", fault)
    completed = end(storage, "2")

    assert completed
    assert network.faults == 1
    assert len(storage.get_ended(["1", "2"])) == 2


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
