"""What may befall the MongoDB storage in production, and what it makes of odd and large records.

Long because its sections share two kinds of server and a proxy between.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pymongo
import pytest
from bson.decimal128 import Decimal128
from celery import Celery
from celery.exceptions import ImproperlyConfigured
from pymongo import monitoring
from pymongo.collection import Collection

from fullresult import FullResult, StorageError
from fullresult.config import Settings
from fullresult.record import SCHEDULED, SCHEDULED_SENT, STARTED, SUCCESS, Entry, TaskRecord
from fullresult.record.schedule import ScheduleQuery
from fullresult.storage import Refused, TaskQuery, Uncertain
from fullresult.testing import samples
from fullresult_storage_mongo import chord_members, plugin
from fullresult_storage_mongo.clients import Handle
from fullresult_storage_mongo.merging import MOST_ENTRIES
from fullresult_storage_mongo.storage import MongoStorage
from tests.kit import servers
from tests.kit.mongo import opened, using
from tests.kit.proxy import Cut, Delay, Fault, LoseAnswer, Proxy, once, proxy

pytestmark = pytest.mark.slow

MEGABYTE = 1024 * 1024
Document = dict[str, Any]
Tasks = Collection[Document]


@pytest.fixture
def storage(mongodb_url: str) -> Iterator[MongoStorage]:
    patient = timedelta(seconds=10)  # for what is very large
    with using(mongodb_url, storage_timeout=patient) as storage:
        storage.setup()
        yield storage


@pytest.fixture
def single_url(mongodb_single_server: str) -> Iterator[str]:
    with servers.mongodb_database(mongodb_single_server) as url:
        yield url


@pytest.fixture
def tasks(mongodb_url: str) -> Iterator[Tasks]:
    """The collection as others see it."""
    with pymongo.MongoClient[Document](mongodb_url) as client:
        yield client.get_default_database()["fullresult_task"]


@pytest.fixture(params=["replica set", "single server"])
def between(
    request: pytest.FixtureRequest, mongodb_url: str, single_url: str
) -> Iterator[tuple[Proxy, str, str]]:
    """A proxy, the URL that leads through it, and the one that does not."""
    direct = mongodb_url if request.param == "replica set" else single_url
    parts = urlsplit(direct)
    with proxy(servers.HOST, parts.port or 0) as network, using(direct) as storage:
        storage.setup()
        url = f"mongodb://{servers.HOST}:{network.port}{parts.path}?directConnection=true"
        yield network, url, direct


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def known(storage: MongoStorage, task_id: str) -> TaskRecord:
    record = storage.get(task_id)
    assert record is not None
    return record


# --- Values

ODD: list[Any] = [
    "$secret",
    "$$ROOT",
    "$$NOW",
    {"$function": {"body": "function() { return 1 }", "args": [], "lang": "js"}},
    {"$literal": 1, "$set": {"a.b": "$_id"}},
    {"a.b": {"$c.d": ["$e"]}, ".": 1, "$": 2, "": 3},
    {"$ref": "tasks", "$id": 1, "$db": "x"},
    {"$fullresult": "x"},
    {"$numberLong": "1"},
    {"$oid": "5f0000000000000000000000"},
    {"_id": "$_id", "expire_at": "$$NOW"},
]


@pytest.mark.parametrize("value", ODD, ids=str)
def test_nothing_that_is_written_is_evaluated(storage: MongoStorage, value: Any) -> None:
    event = samples.task(
        "a", args=[value], kwargs={"a": value}, result=json.dumps(value), result_form="json"
    )

    storage.write([event])
    storage.write([event, replace(event, task_id="b")])
    storage.schedule(samples.schedule("s"), replace(event, task_id="c"))

    for task_id in "abc":
        record = known(storage, task_id)
        assert samples.plain(record) == samples.plain(replace(event, task_id=task_id))
        assert (record.args, record.kwargs, record.result) == ([value], {"a": value}, value)


def test_arguments_and_results_are_documents_that_mongosh_can_ask(
    storage: MongoStorage, tasks: Tasks
) -> None:
    called = {"order_id": 7, "address": {"city": "Bonn"}, "items": [1, 2]}
    storage.write([samples.task("a", args=["x"], kwargs=called, result='{"total": 9.5}')])

    asked: list[Document] = [
        {"kwargs.order_id": 7},
        {"kwargs.address.city": "Bonn"},
        {"kwargs.items": 2},
        {"args": "x"},
        {"result.total": {"$gt": 9}},
        {"name": "shop.pay", "state": "SUCCESS"},
    ]

    assert [tasks.count_documents(each) for each in asked] == [1] * len(asked)


def test_what_bson_cannot_hold_says_so_where_it_stands(storage: MongoStorage, tasks: Tasks) -> None:
    value = {"long": 2**63, "longer": 10**40, "reference": {"$ref": 1}, "other": 1}

    storage.write([samples.task("a", kwargs=value)])

    found = tasks.find_one({"_id": "a"})
    assert found is not None
    assert found["kwargs"] == {
        "long": Decimal128("9223372036854775808"),
        "longer": {"$fullresult": str(10**40)},
        "reference": {"$fullresult:$ref": 1},
        "other": 1,
    }
    assert known(storage, "a").kwargs == value


def test_integers_beyond_64_bits_are_found_by_value(storage: MongoStorage) -> None:
    for task_id, value in {"a": 2**63, "b": -(2**70), "c": 10**40, "d": 10**40 + 1}.items():
        storage.write([samples.task(task_id, kwargs={"n": value, "l": [{"a": value}]})])

    for task_id, value in {"a": 2**63, "b": -(2**70), "c": 10**40, "d": 10**40 + 1}.items():
        for asked in ({"n": value}, {"l": [{"a": value}]}):
            found = storage.find(TaskQuery(kwargs=asked))
            assert [record.task_id for record in found] == [task_id]


def test_what_is_no_json_is_kept_as_it_is(storage: MongoStorage) -> None:
    told = samples.message()._replace(args="[1, 2", kwargs="")

    storage.write([samples.event("a", message=told)])

    assert known(storage, "a").message == told


def test_a_text_with_a_nul_is_kept_and_found_by_what_stands_beside_it(
    storage: MongoStorage,
) -> None:
    """Of a search for the NUL itself every storage says that it cannot be."""
    storage.write([samples.task("a", exception_message="xx\0y"), samples.task("b")])

    found = storage.find(TaskQuery(text="XX"))

    assert [record.task_id for record in found] == ["a"]
    assert found[0].exception_message == "xx\0y"
    with pytest.raises(ValueError, match="NUL"):
        TaskQuery(text="X\0Y")


def test_null_is_a_result_and_no_result_is_none(storage: MongoStorage) -> None:
    null = samples.task("null", result="null", result_form="json")
    nothing = samples.task("nothing", result_form=None)

    storage.write([null, nothing])

    assert known(storage, "null") == null
    assert known(storage, "nothing") == nothing


def test_a_body_is_sent_again_byte_for_byte(mongodb_url: str) -> None:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(fullresult_storage=mongodb_url)
    full = FullResult(app)
    first = app.send_task("shop.pay", ({"b": 1, "a": "é$.", "$ref": [2**70]},), {"$x": 1.0}).id

    second = full.resend(first).id

    messages = [record.message for record in map(full.get, (first, second)) if record]
    assert len(messages) == 2
    assert messages[0] is not None
    assert messages[1] is not None
    assert messages[0].body == messages[1].body is not None
    full.close()


# --- Sizes


def test_only_the_newest_executions_are_kept_in_whatever_order_they_come(
    storage: MongoStorage,
) -> None:
    entries = [samples.entry("RETRY", retries=number) for number in range(MOST_ENTRIES + 60)]
    parts = [entries[start : start + 30] for start in range(0, len(entries), 30)]

    for task_id, order in {"a": parts, "b": parts[::-1]}.items():
        for part in order:
            storage.write([samples.event(task_id, entries=tuple(part))])

    newest = tuple(entries[-MOST_ENTRIES:])
    assert known(storage, "a").entries == newest
    assert known(storage, "b").entries == newest


def test_a_body_that_is_too_large_is_left_out_and_the_record_says_so(
    storage: MongoStorage,
) -> None:
    event = samples.task("a", body=b"x" * (17 * MEGABYTE), kwargs={"order": 7})

    lacking = storage.write([event])

    record = known(storage, "a")
    assert lacking == []
    assert record.message is not None
    assert record.message.body is None
    assert record.notes["body"].startswith("cut")
    assert record.name == "shop.pay"
    storage.write(
        [samples.became("a", SUCCESS, samples.after(1), result='"x"', result_form="json")]
    )
    assert known(storage, "a").result == "x"


def test_a_large_record_gives_up_its_oldest_texts_first(storage: MongoStorage) -> None:
    """The message is what a task can be sent again with."""
    body = b"x" * (9 * MEGABYTE)
    storage.write([samples.task("a", state=STARTED, body=body)])
    texts = "é" * (MEGABYTE // 4)
    for number in range(20):
        entry = samples.entry("RETRY", retries=number, traceback=texts)
        storage.write([samples.event("a", entries=(entry,))])
    end = samples.outcome("FAILURE", samples.after(9), traceback=texts)

    storage.write([samples.event("a", outcome=end)])

    record = known(storage, "a")
    assert record.message is not None
    assert record.message.body == body
    assert record.traceback == texts
    assert [entry.retries for entry in record.entries] == list(range(20))
    assert record.entries[-1].traceback is not None
    assert "[cut: " in str(record.entries[0].traceback)


def test_a_large_result_is_cut_before_the_body_is_lost(storage: MongoStorage) -> None:
    storage.write([samples.task("a", state=STARTED, body=b"x" * (12 * MEGABYTE))])
    result = json.dumps("y" * (8 * MEGABYTE))

    storage.write([samples.became("a", SUCCESS, samples.after(1), result=result)])

    record = known(storage, "a")
    assert record.state == SUCCESS
    assert record.result_form == "cut"
    assert record.message is not None
    assert record.message.body is not None


def test_one_event_that_is_too_large_does_not_keep_the_others_of_its_batch(
    storage: MongoStorage,
) -> None:
    large = samples.task("b", body=b"x" * (17 * MEGABYTE))

    lacking = storage.write([samples.task("a"), large, samples.became("c", STARTED)])

    assert lacking == ["c"]
    assert storage.count(TaskQuery()) == 3


@pytest.mark.parametrize("told", ["in a batch", "with a schedule"])
def test_an_event_that_makes_a_record_too_large_is_merged_all_the_same(
    storage: MongoStorage, told: str
) -> None:
    """Neither alone is too large."""
    storage.write([samples.task("a", state=STARTED, body=b"x" * (13 * MEGABYTE))])
    result = json.dumps("y" * (7 * MEGABYTE // 2))
    end = samples.became("a", SUCCESS, samples.after(1), result=result, result_form="json")

    if told == "in a batch":
        storage.write([end, samples.task("b")])
    else:
        storage.schedule(samples.schedule("s"), end)

    record = known(storage, "a")
    assert (record.state, record.result_form) == (SUCCESS, "cut")
    assert record.message is not None
    assert record.message.body is not None
    assert storage.count(TaskQuery()) == (2 if told == "in a batch" else 1)


def test_a_large_result_that_json_cannot_hold_is_cut_and_says_so(storage: MongoStorage) -> None:
    text = json.dumps(["NUL \0", "y" * (17 * MEGABYTE)])
    event = samples.became("a", SUCCESS, result_text=text, result_form="text")

    storage.write([event])

    record = known(storage, "a")
    assert record.result_form == "cut"
    assert str(record.result).startswith('["NUL')


def test_a_batch_may_be_larger_than_a_command(storage: MongoStorage) -> None:
    events = [samples.task(f"{number}", body=bytes(3 * MEGABYTE)) for number in range(20)]

    storage.write(sorted(events, key=lambda event: event.task_id))

    assert storage.count(TaskQuery()) == 20


@pytest.mark.parametrize("which", ["replica set", "single server"])
def test_a_schedule_is_kept_whole_or_not_at_all(
    which: str, mongodb_url: str, single_url: str
) -> None:
    url = mongodb_url if which == "replica set" else single_url
    with using(url, storage_timeout=timedelta(seconds=10)) as storage:
        large = samples.schedule("large", body=bytes(17 * MEGABYTE))
        fits = samples.schedule("fits", body=bytes(15 * MEGABYTE))

        with pytest.raises(Refused, match=r"\w"):
            storage.schedule(large, samples.scheduled(large))
        storage.schedule(fits, samples.scheduled(fits, body=bytes(17 * MEGABYTE)))

        assert storage.get("task large") is None
        assert storage.find_schedules(ScheduleQuery()) == [fits]
        record = known(storage, "task fits")
        assert record.state == SCHEDULED
        assert record.notes["body"].startswith("cut")


# --- Commands and indexes


class Commands(monitoring.CommandListener):
    """What every client made from now on is told to send."""

    def __init__(self) -> None:
        self.sent: list[Document] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        self.sent.append({**event.command})

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None: ...

    def failed(self, event: monitoring.CommandFailedEvent) -> None: ...

    def names(self) -> list[str]:
        return [next(iter(command)) for command in self.sent]


_COMMANDS = Commands()
monitoring.register(_COMMANDS)


@pytest.fixture
def commands(storage: MongoStorage) -> Commands:
    storage.write([samples.task("known", state="PENDING")])
    _COMMANDS.sent.clear()
    return _COMMANDS


def test_each_event_of_a_tasks_life_is_one_command(
    storage: MongoStorage, commands: Commands
) -> None:
    storage.write([samples.task("new", state="PENDING")])
    storage.write([samples.became("new", STARTED)])
    storage.write([samples.became("new", SUCCESS)])

    assert commands.names() == ["insert", "update", "update"]


def test_the_end_of_a_member_waits_once_with_its_counting(
    storage: MongoStorage, commands: Commands
) -> None:
    """On one connection, so that what the second waits for is what the first left, too."""
    for chord, member in (("chord", "known"), ("another", "second")):
        storage.begin_chord(chord, 2, "", None)
        storage.write([samples.task(member, state="PENDING")])
    storage.write_and_join(samples.became("known", SUCCESS), "chord", "known", 2, None)
    commands.sent.clear()

    storage.write_and_join(samples.became("second", SUCCESS), "another", "second", 2, None)

    concerns = [command["writeConcern"] for command in commands.sent]
    assert commands.names() == ["update", "findAndModify"]
    assert concerns == [{"w": 1}, {"w": "majority", "j": True}]


def test_only_a_publish_and_a_start_do_not_wait_for_a_majority(
    storage: MongoStorage, commands: Commands
) -> None:
    concerns: dict[str, list[Any]] = {}
    for state in ("PENDING", STARTED, "RETRY", SUCCESS, "FAILURE", SCHEDULED):
        if state not in ("PENDING", SCHEDULED):
            storage.write([samples.task(state, state="PENDING")])
        commands.sent.clear()
        storage.write([samples.became(state, state)])
        concerns[state] = [command.get("writeConcern") for command in commands.sent]

    relaxed, durable = {"w": 1}, {"w": "majority", "j": True}
    assert all(
        each == (relaxed if state in ("PENDING", STARTED) else durable)
        for state, found in concerns.items()
        for each in found
    )
    assert all(concerns.values())


def test_the_write_concern_of_the_url_is_that_of_publishes(mongodb_url: str) -> None:
    with using(f"{mongodb_url}&w=1&journal=true") as storage:
        storage.write([samples.became("a", "PENDING")])

    update = [command for command in _COMMANDS.sent if "update" in command][-1]
    assert update["writeConcern"] == {"w": 1, "j": True}


def test_many_events_are_one_command(storage: MongoStorage, commands: Commands) -> None:
    storage.write([samples.task(f"{number:03}") for number in range(100)])

    assert commands.names() == ["update"]


def test_claims_and_marks_are_a_few_commands_for_any_number(
    storage: MongoStorage, commands: Commands
) -> None:
    for number in range(50):
        schedule = samples.schedule(f"{number:02}")
        storage.schedule(schedule, samples.scheduled(schedule))
    storage.claim_due("another", samples.NOON, "x", 1)  # which looks for what is half done
    commands.sent.clear()

    claimed = storage.claim_due("shop", samples.NOON, "x", 50)
    ids = [schedule.schedule_id for schedule in claimed]
    storage.mark_sent("x", ids, [samples.became(f"task {each}", SCHEDULED_SENT) for each in ids])

    assert len(claimed) == 50
    claiming, marking = ["find", "update", "find"], ["find", "update", "update", "delete"]
    assert commands.names() == [*claiming, *marking]
    assert commands.sent[1]["writeConcern"] == {"w": "majority", "j": True}
    assert commands.sent[-1]["writeConcern"] == {"w": "majority", "j": True}


def test_every_write_names_the_ids_of_its_documents(
    storage: MongoStorage, commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sharded by them is then changed on the shards that have it."""
    monkeypatch.setattr(chord_members, "SEGMENT", 1)
    monkeypatch.setattr(chord_members, "_EVERY", 1)
    storage.write([samples.became("known", SUCCESS)])
    storage.write([samples.became("a", SUCCESS), samples.became("b", SUCCESS)])
    storage.schedule(samples.schedule("a"), samples.became("a", SCHEDULED))
    storage.reschedule("a", samples.NOON, samples.became("a", SCHEDULED))
    storage.claim_due("shop", samples.NOON, "x", 9)
    storage.mark_problem("x", "a", "lost")
    storage.release(["a"])
    storage.take_over("a", "y", samples.NOON, instead_of=None)
    storage.mark_sent("y", ["a"], [])
    storage.withdraw("b")
    storage.delete(TaskQuery(limit=5))
    storage.note_sweep("shop", samples.NOON)
    storage.write([samples.task("c", expire_at=samples.EXPIRY)])
    storage.delete_expired(samples.EXPIRY, 10)
    storage.save_group("a", b"", None)
    storage.delete_group("a")
    storage.join_chord("a", "1", 3, samples.NOON)
    storage.join_chord("a", "2", 3, samples.EXPIRY)
    storage.forget_chord("a")

    writes = [
        each
        for command in commands.sent
        for each in (*command.get("updates", ()), *command.get("deletes", ()))
    ]
    found = [each["q"] for each in writes]
    found += [each["query"] for each in commands.sent if "findAndModify" in each]
    assert len(found) > 18
    assert all("_id" in each for each in found)


ASKED: dict[str, TaskQuery] = {
    "created": TaskQuery(),
    "bucket": TaskQuery(state="FAILURE"),
    "bucket open": TaskQuery(open=True, moved_before=samples.LATEST, order="oldest"),
    "bucket states": TaskQuery(state=["FAILURE", "REVOKED"]),
    "name": TaskQuery(name="shop.rare"),
    "root": TaskQuery(root_id="r7"),
    "group": TaskQuery(group_id="g7"),
    "retry_of": TaskQuery(retry_of="o7"),
    "argument order_id": TaskQuery(kwargs={"order_id": 7}),
}


@pytest.mark.parametrize("asked", ASKED)
def test_what_is_asked_often_is_answered_from_an_index(
    mongodb_url: str, tasks: Tasks, asked: str
) -> None:
    with using(mongodb_url, index_kwargs=("order_id",)) as storage:
        storage.write(
            [
                samples.task(
                    f"{number:04}",
                    samples.after(number),
                    state="FAILURE" if number % 100 == 0 else SUCCESS,
                    name="shop.rare" if number % 100 == 0 else "shop.pay",
                    root_id=f"r{number}",
                    group_id=f"g{number}",
                    retry_of=f"o{number}",
                    kwargs={"order_id": number},
                )
                for number in range(500)
            ]
        )
        _COMMANDS.sent.clear()
        storage.find(ASKED[asked])

    find = next(command for command in _COMMANDS.sent if "find" in command)
    plan = tasks.database.command("explain", {key: find[key] for key in _PLAN if key in find})
    text = json.dumps(plan["queryPlanner"]["winningPlan"], default=str)
    assert "COLLSCAN" not in text
    assert f'"indexName": "{asked.partition(" ")[0]}' in text


_PLAN = ("find", "filter", "sort", "limit")


def test_the_next_due_is_read_from_an_index_without_sorting(
    storage: MongoStorage, commands: Commands, tasks: Tasks
) -> None:
    storage.schedule(samples.schedule("a"), samples.became("known", SCHEDULED))
    storage.claim_due("another", samples.NOON, "x", 1)  # which looks for what is half done
    commands.sent.clear()

    storage.next_due("shop")
    storage.claim_due("shop", samples.NOON, "x", 5)

    for find in commands.sent[:2]:
        plan = tasks.database.command("explain", {key: find[key] for key in _PLAN if key in find})
        text = json.dumps(plan["queryPlanner"]["winningPlan"], default=str)
        assert '"indexName": "waiting"' in text
        assert "SORT" not in text


def test_what_expires_has_an_index_that_is_empty_without_it(
    storage: MongoStorage, tasks: Tasks
) -> None:
    storage.write([samples.task("a")])

    expiry = tasks.index_information()["expiry"]

    assert expiry["expireAfterSeconds"] == 0
    assert expiry["partialFilterExpression"] == {"expire_at": {"$type": "date"}}


# --- URLs and settings


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://host/db?fullresult_prefix=$a",
        "mongodb://host/db?fullresult_prefix=",
        "mongodb://host/db?fullresult_prefix=system.",
        "mongodb://host/db?no_such_option=1",
        "mongodb://host/db?w=majority&w=x&connectTimeoutMS=abc",
        "mongodb://host:port/db",
        "mongodb://",
        "mongodb://host/a$b",
    ],
)
def test_a_url_that_cannot_be_right_is_a_wrong_configuration(url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="fullresult_storage"):
        opened(url)


def test_a_password_is_never_shown() -> None:
    url = "mongodb://user:secret@host/db?no_such_option=1"

    with pytest.raises(ImproperlyConfigured) as raised:
        opened(url)

    assert "secret" not in str(raised.value)
    assert "secret" not in repr(opened("mongodb://user:secret@host/db"))


def test_a_name_server_is_not_asked_before_it_must() -> None:
    storage = opened("mongodb+srv://nowhere.invalid/db", storage_timeout=timedelta(seconds=1))

    with pytest.raises(StorageError, match=r"\w"):
        storage.get("a")


def test_the_database_and_the_prefix_are_those_of_the_url(mongodb_server: str) -> None:
    parts = urlsplit(mongodb_server)
    base = f"mongodb://{parts.netloc}"
    with (
        servers.mongodb_database(mongodb_server) as url,
        using(f"{url}&fullresult_prefix=proj.") as storage,
    ):
        storage.write([samples.task("a")])
        with pymongo.MongoClient[Document](url) as client:
            names = client.get_default_database().list_collection_names()
        assert {"proj.task", "proj.schedule", "proj.schema"} < {*names}
        assert all(name.startswith("proj.") for name in names)
    assert repr(opened(base)) == f"<MongoStorage {base}>"


def test_without_auto_setup_what_is_missing_is_said(mongodb_url: str) -> None:
    with using(mongodb_url, auto_setup=False) as storage:
        with pytest.raises(StorageError, match="fullresult setup"):
            storage.count(TaskQuery())
        with using(mongodb_url) as other:
            other.setup()
        assert storage.count(TaskQuery()) == 0


def test_an_index_that_is_wanted_later_is_made_later(mongodb_url: str, tasks: Tasks) -> None:
    with using(mongodb_url) as storage:
        storage.write([samples.task("a", kwargs={"order_id": 7})])
    with using(mongodb_url, index_kwargs=("order_id", "a.b", "$c")) as storage:
        found = storage.find(TaskQuery(kwargs={"order_id": 7}))

    assert len(found) == 1
    made = [name for name in tasks.index_information() if name.startswith("argument")]
    assert made == ["argument order_id"]


def test_a_missing_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("fullresult_storage_mongo.")]:
        if module != "fullresult_storage_mongo.plugin":
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "pymongo", None)

    with pytest.raises(ImproperlyConfigured, match=r"pip install \"fullresult\[mongo\]\""):
        plugin.fullresult_open_storage("mongodb://host/db", Settings())


# --- Networks


CALLS: dict[str, Callable[[MongoStorage], object]] = {
    "write": lambda each: each.write([samples.task("b")]),
    "write many": lambda each: each.write([samples.task("b"), samples.task("c")]),
    "get": lambda each: each.get("a"),
    "find": lambda each: each.find(TaskQuery(name="shop.*")),
    "count": lambda each: each.count(TaskQuery(name="shop.*")),
    "schedule": lambda each: each.schedule(samples.schedule("a"), samples.task("b")),
    "cancel": lambda each: each.cancel("a", samples.task("b")),
    "claim": lambda each: each.claim_due("shop", samples.NOON, "x", 10),
    "find schedules": lambda each: each.find_schedules(ScheduleQuery()),
}


def seconds_to_fail(do: Callable[[], object]) -> float:
    began = time.monotonic()
    with pytest.raises(StorageError, match=r"\w"):
        do()
    return time.monotonic() - began


def test_a_server_that_refuses_is_not_waited_for() -> None:
    url = f"mongodb://{servers.HOST}:{servers.free_port()}/db"
    with using(url, storage_timeout=timedelta(seconds=20)) as storage:
        waited = [seconds_to_fail(lambda: storage.write([samples.task("a")])) for _ in range(2)]

    assert max(waited) < 2


def test_one_that_refuses_of_two_servers_is_no_reason_to_give_up(mongodb_url: str) -> None:
    url = mongodb_url.replace("mongodb://", f"mongodb://{servers.HOST}:{servers.free_port()},")
    with using(url) as storage:
        storage.write([samples.task("a")])

        assert storage.count(TaskQuery()) == 1


def test_a_server_that_refuses_from_now_on_is_not_waited_for(mongodb_url: str) -> None:
    parts = urlsplit(mongodb_url)
    waited = {}
    for name, call in CALLS.items():
        with proxy(servers.HOST, parts.port or 0) as network:
            url = f"mongodb://{servers.HOST}:{network.port}{parts.path}?directConnection=true"
            with using(url, storage_timeout=timedelta(seconds=20)) as storage:
                storage.write([samples.task("a")])
                network.close()
                waited[name] = seconds_to_fail(partial(call, storage))

    assert max(waited.values()) < 2, waited


def test_a_server_that_is_silent_is_not_waited_for_longer_than_the_timeout(
    between: tuple[Proxy, str, str],
) -> None:
    network, url, _ = between
    with using(url, storage_timeout=timedelta(milliseconds=500)) as storage:
        storage.write([samples.task("a")])
        network.plan = lambda _: Delay(2)
        waited = {name: seconds_to_fail(partial(call, storage)) for name, call in CALLS.items()}
        network.heal()

        assert max(waited.values()) < 2, waited
        until(lambda: answers(storage))


def answers(storage: MongoStorage) -> bool:
    try:
        storage.now()
    except StorageError:
        return False
    return True


def test_a_cut_connection_costs_no_event(between: tuple[Proxy, str, str]) -> None:
    network, url, _ = between
    with using(url) as storage:
        storage.write([samples.task("a")])
        network.cut_all()

        storage.write([samples.task("b")])
        network.plan = once(b"insert", LoseAnswer())
        storage.write([samples.task("c")])
        network.plan = once(b"replaceWith", Cut(100))
        storage.write([samples.task("d"), samples.task("e")])

        assert network.faults == 2
        assert storage.count(TaskQuery()) == 5


def test_connections_that_break_again_and_again_keep_nobody_waiting(
    between: tuple[Proxy, str, str],
) -> None:
    network, url, _ = between
    with using(url) as storage:
        storage.write([samples.task("a")])
        failed = []
        for number in range(8):
            time.sleep(0.15)  # what breaks at once counts once
            network.plan = once(b"insert", Cut())
            try:
                storage.write([samples.task(f"{number}")])
            except StorageError:
                failed.append(number)
        storage.write([samples.task("b")])

        assert failed == [4, 5, 6, 7]
        assert storage.count(TaskQuery()) == 2 + 4


def test_a_schedule_whose_answer_is_lost_is_kept_once(between: tuple[Proxy, str, str]) -> None:
    network, url, direct = between
    for marker in (b"setOnInsert", b"replaceWith", b"documents", b"unset"):
        with using(url) as storage, using(direct) as other:
            schedule = samples.schedule(marker.decode())
            storage.now()
            network.plan = once(marker, LoseAnswer())
            try:
                storage.schedule(schedule, samples.scheduled(schedule))
            except Uncertain:
                continue
            network.heal()
            found = other.find_schedules(ScheduleQuery(schedule_ids=[schedule.schedule_id]))
            assert found == [schedule]
            assert known(other, schedule.task_id).state == SCHEDULED


def test_a_schedule_that_may_have_been_kept_is_uncertain(between: tuple[Proxy, str, str]) -> None:
    network, url, _ = between

    def lose(piece: bytes) -> Fault | None:
        if b"setOnInsert" not in piece:
            return None
        threading.Thread(target=network.refuse).start()
        return LoseAnswer()

    schedule = samples.schedule("a")
    with using(url, storage_timeout=timedelta(seconds=1)) as storage:
        storage.get("a")
        network.plan = lose
        with pytest.raises(Uncertain):
            storage.schedule(schedule, samples.scheduled(schedule))


def test_what_a_publisher_left_half_done_is_finished_by_a_sweeper(
    between: tuple[Proxy, str, str],
) -> None:
    network, url, direct = between
    changes: list[Callable[[MongoStorage], object]] = [
        lambda each: each.schedule(samples.schedule("a"), samples.became("task a", SCHEDULED)),
        lambda each: each.cancel("b", samples.became("task b", "REVOKED")),
        lambda each: each.reschedule("c", samples.after(-1), samples.became("task c", STARTED)),
    ]
    with using(direct) as other:
        for name in "bc":
            other.schedule(samples.schedule(name), samples.became(f"task {name}", SCHEDULED))
        for change in changes:
            network.heal()
            with using(url, storage_timeout=timedelta(seconds=1)) as storage:
                storage.get("a")
                network.plan = partial(cut_off, network)
                with pytest.raises(StorageError):
                    change(storage)
        assert other.get("task a") is None
        assert [each.schedule_id for each in other.find_schedules(ScheduleQuery())] == ["c"]

        with using(direct, storage_timeout=timedelta(milliseconds=500)) as sweeper:
            until(lambda: mended(sweeper) == 2)

        kept = other.find_schedules(ScheduleQuery())
        assert [each.schedule_id for each in kept] == ["c", "a"]
        assert [known(other, f"task {name}").state for name in "abc"] == [
            *(SCHEDULED, "REVOKED", STARTED),
        ]


def cut_off(network: Proxy, piece: bytes, marker: bytes = b"replaceWith") -> Fault | None:
    """Whoever merges an event, or does what *marker* says, is cut off before it, for good."""
    if marker not in piece:
        return None
    network.refuse()
    return Cut()


def mended(sweeper: MongoStorage) -> int:
    """How many schedules there are when it has looked for what is half done."""
    vars(sweeper)["_outbox"]._mended = 0.0  # it looks only now and then
    sweeper.claim_due("another", samples.NOON, "x", 1)
    return len(sweeper.find_schedules(ScheduleQuery()))


@pytest.mark.parametrize("before", ["fullresult_task", "delete"])
def test_what_a_sweeper_left_half_marked_is_not_sent_again(
    between: tuple[Proxy, str, str], before: str
) -> None:
    """Nobody can release it, or take it over; its worker goes on; another sweeper finishes it."""
    network, url, direct = between
    schedule = samples.schedule("a")
    with using(direct) as other:
        other.schedule(schedule, samples.became("task a", SCHEDULED))
        with using(url, storage_timeout=timedelta(seconds=1)) as storage:
            storage.claim_due(schedule.namespace, schedule.due, "x", 1)
            network.plan = partial(cut_off, network, marker=before.encode())
            with pytest.raises(StorageError):
                storage.mark_sent("x", ["a"], [samples.became("task a", SCHEDULED_SENT)])

        assert other.release(["a"]) == []
        assert other.take_over("a", "y", samples.NOON, instead_of="x") is None
        assert other.find_schedules(ScheduleQuery()) == []
        other.write([samples.event("task a", samples.after(1))])
        with (
            using(direct, storage_timeout=timedelta(milliseconds=500)) as sweeper,
            pymongo.MongoClient[Document](direct) as client,
        ):
            schedules = client.get_default_database()["fullresult_schedule"]
            until(lambda: mended(sweeper) == schedules.count_documents({}) == 0)
        assert known(other, "task a").state == SCHEDULED_SENT


# --- Processes


def test_a_client_is_used_only_in_the_process_that_made_it(storage: MongoStorage) -> None:
    storage.write([samples.task("a")])
    clients = vars(vars(storage)["_database"])["_clients"]
    mine = clients.handle().client
    child = os.fork()
    if not child:
        code = 1
        try:
            storage.write([samples.task("b")])
            other = clients.handle().client
            code = int(other is mine or vars(clients)["_inherited"][0].client is not mine)
        finally:
            os._exit(code)

    assert os.waitpid(child, 0)[1] == 0
    assert clients.handle().client is mine
    assert storage.count(TaskQuery()) == 2


def test_a_call_goes_on_though_the_storage_is_closed_meanwhile(storage: MongoStorage) -> None:
    storage.write([samples.task("a")])
    closed: list[bool] = []

    def count(handle: Handle) -> int:
        if not closed:
            closed.append(True)
            storage.close()
        return handle.tasks.count_documents({})

    assert vars(storage)["_database"].run(count) == 1
    assert closed


def test_a_storage_closed_by_one_thread_goes_on_in_another(storage: MongoStorage) -> None:
    enough = threading.Event()
    failed: list[BaseException] = []

    def write() -> None:
        try:
            for number in range(10_000):
                storage.write([samples.task(f"{number}")])
                if enough.is_set():
                    break
        except StorageError as error:
            failed.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    for number in range(5):
        until(lambda number=number: storage.count(TaskQuery()) > number)  # type: ignore[misc]
        storage.close()
    enough.set()
    writer.join()

    assert failed == []


def test_the_time_is_that_of_the_server(storage: MongoStorage) -> None:
    before = datetime.now(timezone.utc) - timedelta(seconds=1)

    assert before < storage.now() < before + timedelta(seconds=10)


def test_any_entry_of_a_record_is_read_back(storage: MongoStorage) -> None:
    entry = Entry(samples.stamp("RETRY"), 0, "RETRY", *(None,) * 6)

    storage.write([samples.event("a", entries=(entry,))])

    assert known(storage, "a").entries == (entry,)
