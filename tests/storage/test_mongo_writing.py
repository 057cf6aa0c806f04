"""One command for most events in MongoDB, and for all of them what a merge says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import bson
import pytest
from pymongo import MongoClient, monitoring

from fullresult.record import (
    PENDING,
    RETRY,
    STARTED,
    SUCCESS,
    TaskRecord,
)
from fullresult.record.merging import merge
from fullresult.storage import StorageError, TaskQuery
from fullresult.testing import samples
from fullresult_storage_mongo.clients import Clients
from fullresult_storage_mongo.held_connections import Lines
from fullresult_storage_mongo.storage import MongoStorage
from tests.kit.mongo import using

pytestmark = pytest.mark.slow

PATIENCE = timedelta(seconds=15)

ODD: list[Any] = [
    "$secret",
    {"$set": {"a": "$_id"}},
    {"$each": [1]},
    {"$numberLong": "1"},
    {"a.b": {"$c.d": ["$e"]}, ".": 1, "$": 2, "": 3},
    [{"$ref": "tasks", "$id": 1}],
    [[{"$fullresult": "x"}], None, 2**64],
]


class Writes(monitoring.CommandListener):
    """The names of the commands that change something, of all clients made from now on."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.updates: list[Any] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if event.command_name in ("insert", "update"):
            self.names.append(event.command_name)
            self.updates += [each["u"] for each in event.command.get("updates", ())]

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...


_WRITES = Writes()
monitoring.register(_WRITES)


@pytest.fixture
def storage(mongodb_url: str) -> Iterator[MongoStorage]:
    with using(mongodb_url, storage_timeout=PATIENCE) as storage:
        storage.setup()
        _WRITES.names.clear()
        _WRITES.updates.clear()
        yield storage


def published(task_id: str) -> TaskRecord:
    return samples.task(task_id, state=PENDING)


def started(task_id: str, at: int = 1, **known: Any) -> TaskRecord:
    when = samples.after(at)
    outcome = samples.outcome(STARTED, when, worker="w1@host", date_started=when, **known)
    return samples.event(task_id, when, outcome=outcome, start=samples.start(when))


def ended(task_id: str, **known: Any) -> TaskRecord:
    return samples.became(task_id, SUCCESS, samples.after(2), **known)


def merged(*events: TaskRecord) -> TaskRecord:
    whole = events[0]
    for event in events[1:]:
        whole = merge(whole, event)
    return samples.plain(whole)


def kept(storage: MongoStorage, task_id: str) -> TaskRecord:
    record = storage.get(task_id)
    assert record is not None
    return samples.plain(record)


def test_a_task_that_succeeds_is_an_insert_and_two_updates(storage: MongoStorage) -> None:
    events = [published("a"), started("a"), ended("a", result="[1]", result_form="json")]

    lacking = [storage.write([event]) for event in events]

    assert _WRITES.names == ["insert", "update", "update"]
    assert lacking == [[], [], []]
    assert kept(storage, "a") == merged(*events)


def test_what_is_as_usual_is_merged_by_few_bytes(storage: MongoStorage, mongodb_url: str) -> None:
    """A pipeline, which has every case in it, is evaluated only where one may be needed."""
    result = {"result": "[1]", "result_form": "json"}
    events = [published("a"), started("a"), ended("a", **result)]
    twice = ended("a", **result)

    for event in [*events, twice]:
        storage.write([event])

    usual, rest = _WRITES.updates[:2], _WRITES.updates[2:]
    assert [[*update] for update in usual] == [["$set", "$min", "$max"]] * 2
    assert all(len(bson.encode(update)) < 1_000 for update in usual)
    assert {*map(type, rest[1:])} == {list}
    assert kept(storage, "a") == merged(*events, twice)
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        found = client.get_default_database()["fullresult_task"].find_one("a")
    assert found is not None
    assert "entries" not in found


@pytest.mark.parametrize("value", ODD, ids=json.dumps)
def test_a_result_that_looks_like_an_operator_is_kept_as_it_is(
    storage: MongoStorage, value: Any
) -> None:
    events = [published("a"), ended("a", result=json.dumps(value), result_form="json")]

    for event in events:
        storage.write([event])

    assert kept(storage, "a") == merged(*events)
    assert storage.get("a").result == value  # type: ignore[union-attr]


def test_what_is_not_as_usual_is_merged_all_the_same(storage: MongoStorage) -> None:
    """Events that come late, twice, without a publish, or for a later attempt."""
    again = samples.outcome(PENDING, samples.after(3), retries=1)
    failed = samples.entry(RETRY, samples.after(2))
    lives = {
        "late": [ended("late"), started("late"), published("late")],
        "twice": [published("twice"), started("twice"), ended("twice"), started("twice")],
        "begun twice": [
            published("begun twice"),
            started("begun twice", 2),
            started("begun twice"),
        ],
        "unpublished": [started("unpublished"), ended("unpublished")],
        "published again": [published("published again"), published("published again")],
        "retried": [
            published("retried"),
            samples.event("retried", samples.after(2), entries=(failed,)),
            samples.event("retried", samples.after(3), outcome=again, message=samples.message()),
        ],
    }

    for events in lives.values():
        for event in events:
            storage.write([event])

    assert {name: kept(storage, name) for name in lives} == {
        name: merged(*events) for name, events in lives.items()
    }


def test_a_record_without_a_message_is_said_to_lack_it(storage: MongoStorage) -> None:
    assert storage.write([started("a")]) == ["a"]
    assert storage.write([ended("a")]) == ["a"]
    assert storage.write([published("a")]) == []
    assert storage.write([ended("a")]) == []


def test_each_thread_that_writes_has_a_line_of_its_own_and_keeps_it(storage: MongoStorage) -> None:
    together = threading.Barrier(3)

    def write(thread: int) -> None:
        for number in range(5):
            together.wait(10)
            storage.write([published(f"{thread} {number}")])

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(write, range(3)))

    assert storage.count(TaskQuery()) == 15
    assert 1 <= len(lines_of(storage).idle) <= 3


def test_a_pool_of_one_connection_is_left_to_all(mongodb_url: str) -> None:
    with (
        using(f"{mongodb_url}&maxPoolSize=1", storage_timeout=PATIENCE) as small,
        ThreadPoolExecutor(4) as threads,
    ):
        list(threads.map(lambda number: small.write([published(f"{number}")]), range(20)))

        assert small.count(TaskQuery()) == 20
        assert not lines_of(small).idle


def test_without_what_a_line_is_made_of_a_command_goes_the_usual_way(mongodb_url: str) -> None:
    """It is no public part of PyMongo, and other versions may have none."""
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        without: Any = SimpleNamespace(options=client.options)
        lines = Lines(without, client.get_default_database())

        answers = [lines.command({"ping": 1}) for _ in range(2)]

        assert [answer["ok"] for answer in answers] == [1, 1]
        assert not lines.idle


def test_an_event_waits_for_the_next_primary(mongodb_url: str) -> None:
    """A line to the one before is given up."""
    with (
        using(mongodb_url, storage_timeout=PATIENCE) as storage,
        MongoClient[dict[str, Any]](mongodb_url) as client,
    ):
        storage.write([published("a")])
        client.admin.command("replSetStepDown", 1, secondaryCatchUpPeriodSecs=0, force=True)

        for event in (started("a"), ended("a")):
            storage.write([event])

        assert kept(storage, "a").state == SUCCESS


def lines_of(storage: MongoStorage) -> Lines:
    clients: Clients = vars(vars(storage)["_database"])["_clients"]
    return clients.handle().lines


def test_what_is_given_up_leaves_no_command_on_the_server(mongodb_url: str) -> None:
    """A server that is locked for a backup lets every write wait."""
    with (
        using(mongodb_url, storage_timeout=timedelta(seconds=0.5)) as storage,
        MongoClient[dict[str, Any]](mongodb_url) as client,
    ):
        storage.setup()
        storage.write([published("a")])
        client.admin.command("fsync", lock=True)
        try:
            for event in (published("b"), started("a"), ended("a"), published("c")):
                with pytest.raises(StorageError):
                    storage.write([event])
            left = running(client)
        finally:
            client.admin.command("fsyncUnlock")

        assert len(left) <= 1


def running(client: MongoClient[dict[str, Any]]) -> list[str]:
    """The commands on records that the server has not finished."""
    name = f"{client.get_default_database().name}.fullresult_task"
    found = client.admin.command("currentOp")["inprog"]
    return [each["op"] for each in found if each["active"] and each.get("ns") == name]
