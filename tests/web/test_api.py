"""The HTTP API: each address is described, answers what is described, and does what it says.

Long because every address is asked, rightly and wrongly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from openapi_spec_validator import validate
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from fullresult.config.passwords import hash_token, new_token
from fullresult.record import STARTED, TaskRecord
from fullresult.record.card import Card, WorkerCard
from fullresult.record.worker import Worker
from fullresult.scheduling import replay_window
from fullresult.testing import samples
from fullresult.web import acting, create_app
from fullresult.web.api import acting_tasks
from tests.kit import browsing, workers
from tests.kit.api import ROOT, Client, Described, told
from tests.kit.commands import run
from tests.kit.heartbeats import confirming

TOKEN = new_token()
USERS = {"robot": {"token": hash_token(TOKEN), "role": "operator"}}
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module", params=workers.storages("sqlite", "postgresql", "mongodb"))
def storage_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def app(storage_url: str) -> Iterator[Celery]:
    with browsing.shop(storage_url) as app:
        app.conf.beat_schedule = {
            "often": {
                "task": "shop.charge",
                "schedule": 30.0,
                "args": (1,),
                "kwargs": {"amount": 2},
            }
        }
        yield app


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Celery]:
    """The same on one storage, for what no storage answers."""
    with browsing.shop(f"sqlite:///{tmp_path / 'memory.db'}") as app:
        yield app


def client_of(app: Celery) -> Client:
    return Client.with_token(create_app(app.fullresult, users=USERS), TOKEN)


@pytest.fixture
def client(app: Celery) -> Client:
    return client_of(app)


def lost(app: Celery) -> None:
    """A worker that lives, and one that is gone with a task."""
    storage, now = app.fullresult.storage, app.fullresult.storage.now()
    card = replace(Card(queues=("celery",)), namespace=app.fullresult.settings.namespace)
    for name, seen in (("w1@a", now), ("w2@b", now - HOUR)):
        until = seen + HOUR / 2
        storage.note_worker(Worker(name, name, now - 2 * HOUR, seen, until))
        storage.note_card(WorkerCard(name, now, "n", card.text), "{}")
    begun = samples.outcome(STARTED, now - HOUR, worker="w2@b", date_started=now - HOUR)
    event = samples.event("lost", now - HOUR, outcome=begun._replace(stamp=f"{begun.stamp}@w2@b"))
    storage.write([replace(event, message=samples.message(now - HOUR))])


class World:
    """What the answers are of: something of each kind."""

    def __init__(self, app: Celery) -> None:
        full = app.fullresult
        self.failed = browsing.failed(app, 3)
        self.waits = browsing.charge(app, 2, countdown=3600)
        browsing.charge(app, 1)
        lost(app)
        self.group = full.get(self.failed[0]).fingerprint
        full.failures.mute(self.group, "known", until=full.storage.now() + HOUR)
        self.replay = full.replays.create(state="FAILURE", stop_if=None).replay_id


@pytest.fixture
def world(app: Celery) -> World:
    return World(app)


READS: dict[str, Callable[[World], list[dict[str, Any]]]] = {
    "tasks": lambda w: [
        {}, {"limit": 2}, {"limit": 2, "order": "oldest"}, {"state": ["FAILURE", "REVOKED"]},
        {"not_state": "FAILURE", "all": "true"}, {"text": "declined"},
        {"kwargs": '{"amount": 0.5}'}, {"args": "[1]"}, {"name": "shop.*", "since": "2h"},
        {"fingerprint": w.group, "all": "true"}, {"name": "nobody"},
    ],
    "task": lambda w: [{"id": w.failed[0]}, {"id": w.waits[0]}, {"id": "lost"}, {"id": "?"}],
    "count": lambda _: [{}, {"state": "FAILURE"}, {"text": "declined", "all": "true"}],
    "states": lambda _: [{}, {"since": "1h"}, {"all": "true"}],
    "explain": lambda w: [
        {"id": w.failed[0], "offline": "true"}, {"id": "lost", "offline": "true"},
        {"id": w.waits[0], "offline": "true"}, {"id": "?", "offline": "true"},
    ],
    "plan": lambda w: [{"id": w.failed[0], "operation": "fork"}, {"id": "?"}],
    "overview": lambda _: [{}, {"since": "1h", "buckets": 2}, {"since": "now"}],
    "needing": lambda _: [{}],
    "scheduled": lambda _: [{}, {"limit": 1}, {"claimed": "false"}, {"name": "shop.charge"}],
    "stale-scheduled": lambda _: [{}, {"older_than": "0s"}],
    "stale": lambda _: [{}, {"older_than": "0s", "limit": 1}],
    "orphans": lambda _: [{}, {"older_than": "1m"}, {"older_than": "9h"}],
    "workers": lambda _: [{}, {"all": "true"}],
    "queues": lambda _: [{"offline": "true"}],
    "periodic": lambda _: [{}],
    "audit": lambda _: [{}, {"limit": 1}, {"action": "mute"}, {"actor": "nobody"}],
    "failures": lambda _: [{}, {"all": "true"}, {"new_since": "1h"}, {"new_since": "v9"}],
    "failure": lambda w: [{"group": w.group}, {"group": w.group, "affected": "amount"}],
    "replays": lambda _: [{}],
    "replay": lambda w: [{"id": w.replay}, {"id": "?"}],
    "replays/preview": lambda _: [{"state": "FAILURE", "rate": "0.5"}, {}],
}  # fmt: skip
ACTS: dict[str, Callable[[World], list[dict[str, Any]]]] = {
    "retry": lambda w: [
        {"ids": w.failed[:1]}, {"ids": [w.failed[0], "?"]}, {"ids": ["?"]},
        {"ids": [w.failed[1]], "kwargs": {"amount": 5}, "priority": 3},
        {"ids": ["lost"], "missing": "orphans"}, {"ids": w.failed, "priority": 3},
    ],
    "cancel": lambda w: [{"ids": w.waits[:1]}, {"ids": w.waits[:1]}],
    "reschedule": lambda w: [
        {"ids": w.waits, "eta": "in 2h"}, {"ids": w.waits, "eta": "+1h"},
        {"ids": ["?"], "eta": "now"},
    ],
    "release": lambda w: [{"ids": w.waits}],
    "send-now": lambda w: [{"ids": w.waits[1:]}, {"ids": w.waits[1:]}],
    "revoke": lambda w: [{"ids": ["?"]}, {"ids": [*w.waits, *w.failed]}],
    "terminate": lambda w: [
        {"ids": w.failed}, {"ids": ["lost"], "signal": "SIGKILL"}, {"ids": ["?"], "signal": "no"},
    ],
    "delete": lambda _: [{"name": "nobody"}, {}, {"state": ["PENDING"]}, {"ids": ["?"]}],
    "send": lambda _: [
        {"name": "shop.charge", "args": [1]}, {"name": "shop.chrage"},
        {"name": "shop.charge", "args": [1, 2, 3]}, {"name": "shop.charge", "priority": 999},
    ],
    "trigger": lambda _: [{"name": "often"}, {"name": "never"}],
    "operate": lambda w: [
        {"id": "?"}, {"id": w.failed[0], "operation": "fork", "turn": 9},
        {"id": w.failed[0], "operation": "heal"},
    ],
    "failures/resolve": lambda w: [{"group": w.group, "note": "done"}, {"group": "?"}],
    "failures/mute": lambda w: [{"group": w.group, "until": "in 2h", "count": 3}],
    "failures/reopen": lambda w: [{"group": w.group}],
    "queues/pause": lambda _: [
        {"queue": "celery", "reason": "disk full", "for": "2h"}, {"queue": "celry"},
        {"queue": "celery", "for": "0s"},
    ],
    "queues/resume": lambda _: [{"queue": "celery"}],
    "replays": lambda _: [{"state": ["FAILURE"], "rate": 5, "label": "night"}, {}],
    "replays/pause": lambda w: [{"id": w.replay}, {"id": w.replay}, {"id": "?"}],
    "replays/resume": lambda w: [{"id": w.replay}],
    "replays/cancel": lambda w: [{"id": w.replay}],
    "replays/undo": lambda w: [{"id": w.replay}],
}  # fmt: skip


# --- the document


def test_the_document_is_valid_and_says_where_it_is_mounted(small: Celery) -> None:
    pages = Starlette(routes=[Mount("/ops", create_app(small.fullresult, users=USERS))])
    client = Client.with_token(pages, TOKEN)

    document = told(client.browser.get("/ops/api/v1/openapi.json"))

    validate(document)
    assert document["servers"] == [{"url": "/ops/api/v1"}]
    assert told(client.browser.get(f"{document['servers'][0]['url']}/needing"))


def test_each_route_is_in_the_document_and_in_the_tests(small: Celery) -> None:
    client = client_of(small)
    described = Described(client.read("openapi.json"))
    routed = {
        (method, route.path.removeprefix(f"{ROOT}/"))
        for route in client.browser.app.routes
        if isinstance(route, Route) and route.path.startswith("/api/")
        for method in (route.methods or set()) - {"HEAD"}
    } - {("GET", "openapi.json")}

    assert set(described.operations) == routed
    assert routed == {*(("GET", path) for path in READS), *(("POST", path) for path in ACTS)}


def test_each_answer_is_one_that_the_document_describes(client: Client, world: World) -> None:
    described = Described(client.read("openapi.json"))

    for path, queries in READS.items():
        answers = [client.get(path, query) for query in queries(world)]
        for answer in answers:
            described.check("GET", path, answer)
        assert answers[0].status == 200, (path, answers[0].text)
    for path, bodies in ACTS.items():
        for answer in [client.post(path, body) for body in bodies(world)]:
            described.check("POST", path, answer)


# --- what is read


def test_pages_follow_each_other_and_end(client: Client, world: World) -> None:
    found, after = [], None
    while True:
        page = client.read("tasks", {"limit": 2, **({"after": after} if after else {})})
        assert len(page["tasks"]) <= 2
        found += [task["task_id"] for task in page["tasks"]]
        after = page["next"]
        if after is None:
            break

    assert len(found) == len(set(found)) == 7
    assert set(found) >= {*world.failed, *world.waits, "lost"}


def test_what_it_answers_is_what_the_command_prints(small: Celery) -> None:
    world, client = World(small), client_of(small)

    for command, path, query in (
        (["list", "--state", "FAILURE", "--json"], "tasks", {"state": "FAILURE"}),
        (["show", world.failed[0], "--json"], "task", {"id": world.failed[0]}),
        (["scheduled", "--json"], "scheduled", {}),
        (["orphans", "--json"], "orphans", {}),
        (["failures", "--all", "--json"], "failures", {"all": "true"}),
        (["audit", "--json"], "audit", {}),
        (["queues", "--offline", "--json"], "queues", {"offline": "true"}),
        (["replay", "show", world.replay, "--json"], "replay", {"id": world.replay}),
    ):
        printed = json.loads(run(small, *command).stdout)
        answered = {name: client.read(path, query)[name] for name in printed}
        for volatile in ("at",):
            printed.pop(volatile, None), answered.pop(volatile, None)
        for each in (*printed.get("failures", ()), *answered.get("failures", ())):
            each.pop("per_hour")
        assert answered == printed, command


def test_a_count_says_if_there_may_be_more(small: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    browsing.failed(small, 3)
    client = client_of(small)

    assert client.read("count", {"name": "shop.charge"}) == {"count": 3, "at_least": False}
    monkeypatch.setattr("fullresult.insight.counted.count_up_to.__defaults__", (2,))
    assert client.read("count", {"name": "shop.charge"}) == {"count": 2, "at_least": True}


def test_lists_hide_arguments_where_pages_do(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    with browsing.shop(url, fullresult_web_hide_args=True) as app:
        app.conf.beat_schedule = {
            "often": {"task": "shop.mail", "schedule": 30.0, "args": ("secret-of-beat",)}
        }
        link = app.tasks["shop.mail"].s("secret-of-a-link")
        task_id = app.tasks["shop.mail"].apply_async(("secret-argument",), link=link).id
        lost(app)
        client = client_of(app)

        for path in READS:
            query = {"id": task_id} if path == "explain" else {}
            assert "secret" not in client.get(path, query).text, path
        (listed,) = client.read("tasks", {"name": "shop.mail"})["tasks"]
        assert (listed["args"], listed["kwargs"], listed["argsrepr"]) == (None, None, None)
        assert listed["notes"]["args"] == "hidden by fullresult_web_hide_args"
        assert client.read("task", {"id": task_id})["args"] == ["secret-argument"]


# --- what is done


def test_a_deed_is_written_under_the_name_of_who_sent_the_token(
    app: Celery, client: Client, world: World
) -> None:
    browsing.sent(app)

    done = told(client.post("retry", {"ids": world.failed[:2]}))["done"]

    assert [each["task_id"] for each in done] == world.failed[:2]
    assert {message["id"] for message in browsing.sent(app)} == {each["new_id"] for each in done}
    (entry,) = client.read("audit", {"action": "resend"})["entries"]
    assert (entry["actor"], entry["details"]["by"]) == ("robot", "web")
    assert entry["task_ids"] == world.failed[:2]


def test_a_task_is_sent_again_with_other_arguments(small: Celery) -> None:
    (task_id,) = browsing.failed(small, 1)
    client = client_of(small)

    wrong = told(client.post("retry", {"ids": [task_id], "args": [1, 2, 3]}), 400)
    told(client.post("retry", {"ids": [task_id], "args": [7], "kwargs": {}, "queue": "other"}))

    assert "does not take these arguments" in wrong["detail"]
    (message,) = browsing.sent(small, "other")
    assert (message["args"], message["kwargs"]) == ([7], {})


def test_what_is_partly_done_is_no_plain_success(small: Celery) -> None:
    waits = browsing.charge(small, 1, countdown=3600)
    client = client_of(small)

    partly = told(client.post("cancel", {"ids": [*waits, "?"]}), 207)
    none = told(client.post("cancel", {"ids": waits}), 409)

    assert [each["task_id"] for each in partly["done"]] == waits
    assert [each["task_id"] for each in partly["failed"]] == ["?"]
    assert none["detail"].startswith("Nothing was done: ")
    assert small.fullresult.get(waits[0]).state == "REVOKED"


def test_a_request_with_a_name_acts_once(small: Celery) -> None:
    (task_id,) = browsing.failed(small, 1)
    client = client_of(small)

    answers = [client.post("retry", {"ids": [task_id], "once": "night-1"}) for _ in range(2)]

    assert [answer.status for answer in answers] == [200, 409]
    assert "'night-1' was acted upon already" in told(answers[1], 409)["detail"]
    assert len(browsing.sent(small)) == 1


def test_a_name_of_a_request_that_was_wrong_can_be_used_again(small: Celery) -> None:
    (task_id,) = browsing.failed(small, 1)
    client = client_of(small)

    for wrong in ({"ids": [task_id], "args": [1, 2, 3]}, {"ids": [task_id], "queue": 7}):
        assert client.post("retry", {**wrong, "once": "night-1"}).status == 400
    assert client.post("operate", {"id": "?", "once": "night-1"}).status == 404

    told(client.post("retry", {"ids": [task_id], "once": "night-1"}))
    assert len(browsing.sent(small)) == 1


def test_nothing_is_deleted_by_mistake(small: Celery) -> None:
    ids = browsing.failed(small, 3)
    client = client_of(small)

    assert "at least one filter" in told(client.post("delete", {}), 400)["detail"]
    assert told(client.post("delete", {"state": None}), 400)
    assert told(client.post("delete", {"all": False}), 400)
    assert told(client.post("delete", {"ids": [], "all": True}), 400)["field"] == "ids"
    for name in ("args", "kwargs", "state", "not_state"):
        empty: dict[str, Any] = {name: {} if name == "kwargs" else []}
        for path in ("delete", "replays"):
            assert "at least one filter" in told(client.post(path, empty), 400)["detail"]
    for path in ("delete", "replays"):
        nearly_all = client.post(path, {"not_state": ["SUCCESS"]})
        assert "at least one filter" in told(nearly_all, 400)["detail"]
    assert told(client.post("delete", {"state": ["FAILURE"], "limit": 2}))["deleted"] == 0
    body = {"state": ["FAILURE"], "limit": 2, "all": True}
    assert told(client.post("delete", body))["deleted"] == 2
    assert small.fullresult.count() == 1
    assert told(client.post("delete", {"all": True}))["deleted"] == 1
    assert len(ids) == 3


def test_a_deletion_ends_when_time_is_up_and_goes_on(
    small: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acting, "PATIENCE", 0.0)
    monkeypatch.setattr(acting_tasks, "_PORTION", 2)
    browsing.failed(small, 3)
    client = client_of(small)

    answers = [told(client.post("delete", {"all": True})) for _ in range(2)]
    last = told(client.post("delete", {"all": True}))

    assert [(each["deleted"], each["more"]) for each in answers] == [(2, True), (1, False)]
    assert (last["deleted"], last["more"]) == (0, False)


def test_a_replay_is_undone_part_by_part_when_time_is_up(
    small: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acting, "PATIENCE", 0.0)
    monkeypatch.setattr(replay_window, "_PORTION", 2)
    browsing.failed(small, 5)
    client = client_of(small)
    full = small.fullresult
    replay = full.replays.create(state="FAILURE", rate=1000)
    sweeper = full.parts.new_sweeper()
    for _ in range(3):
        sweeper.sweep()
    sweeper.close()
    assert full.replays.get(replay.replay_id).taken == 5
    body: dict[str, Any] = {"id": replay.replay_id}

    with confirming(small):
        parts = [told(client.post("replays/undo", body))]
        while parts[-1]["before"] is not None:
            assert full.replays.get(replay.replay_id).state == "CANCELLED"
            parts.append(told(client.post("replays/undo", {**body, "before": parts[-1]["before"]})))

    assert len(parts) >= 3
    again = [each for part in parts for each in (*part["revoked"], *part["ran"])]
    assert sum(part["cancelled"] for part in parts) + len(again) == 5
    assert len(set(again)) == len(again)
    assert full.replays.get(replay.replay_id).state == "UNDONE"


def test_the_beginning_of_an_id_is_enough_if_no_other_begins_so(
    client: Client, app: Celery
) -> None:
    now = app.fullresult.storage.now()
    ends = ("1000-4000-8000-000000000000", "2000-4000-8000-000000000000")
    one, other, third = f"abcd1234-{ends[0]}", f"abcd1234-{ends[1]}", f"ef012345-{ends[0]}"
    app.fullresult.storage.write([TaskRecord(each, now, now) for each in (one, other, third)])

    found = told(client.get("task", {"id": "ef01"}))
    several = told(client.get("task", {"id": "abcd"}), 400)
    acted = told(client.post("cancel", {"ids": ["abcd1234-2", "ef01"]}), 409)
    workflow = told(client.get("tasks", {"root_id": "abcd"}), 400)

    assert found["task_id"] == third
    assert several["detail"] == f"id: several ids begin with 'abcd': {one}, {other}"
    assert several["field"] == "id"
    assert [each["task_id"] for each in acted["failed"]] == [other, third]
    assert workflow["field"] == "root_id"


def test_an_id_whose_record_is_gone_is_not_taken_for_a_longer_one(
    client: Client, app: Celery
) -> None:
    now = app.fullresult.storage.now()
    app.fullresult.storage.write([TaskRecord(each, now, now) for each in ("order-1", "order-12")])

    first, second = (told(client.post("delete", {"ids": ["order-1"]})) for _ in range(2))

    assert (first["deleted"], second["deleted"]) == (1, 0)
    assert told(client.get("task", {"id": "order-1"}), 404)["status"] == 404
    assert app.fullresult.get("order-12") is not None


def test_to_take_over_wants_the_turn_that_was_looked_at(small: Celery) -> None:
    (task_id,) = browsing.failed(small, 1)

    answer = told(client_of(small).post("operate", {"id": task_id, "take_over": True}), 400)

    assert answer["field"] == "turn"
    assert "GET /plan?take_over=true" in answer["detail"]


def test_a_deed_that_is_not_in_the_audit_log_says_so(
    small: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fullresult.storage import StorageError

    def full(*_: Any) -> None:
        raise StorageError("the disk is full")

    (task_id,) = browsing.failed(small, 1)
    monkeypatch.setattr(small.fullresult.storage, "keep_audit", full)

    answer = told(client_of(small).post("retry", {"ids": [task_id]}))

    assert answer["unwritten"] == "the disk is full"


# --- what is wrong


@pytest.mark.parametrize(
    ("path", "query", "named"),
    [
        ("tasks", {"limit": "0"}, "from 1 to 200, not 0"),
        ("tasks", {"limit": "201"}, "not 201"),
        ("tasks", {"limit": "9" * 5000}, "from 1 to 200"),
        ("tasks", {"limit": "²"}, "'²'"),
        ("tasks", {"colour": "red"}, "no field 'colour'"),
        ("tasks", {"since": "yesteryear"}, "'yesteryear' is no date"),
        ("tasks", {"name": ["a", "b"]}, "stands there 2 times"),
        ("tasks", {"name": ""}, "must be text"),
        ("tasks", {"name": "x" * 5000}, "4,000 is the most"),
        ("tasks", {"state": ["S"] * 31}, "30 is the most"),
        ("tasks", {"kwargs": "{"}, "must be JSON"),
        ("tasks", {"kwargs": "[1]"}, "must be a JSON object"),
        ("tasks", {"args": "[" * 10_000}, "nested too deeply"),
        ("tasks", {"args": "[NaN]"}, "must be JSON"),
        ("tasks", {"args": '["\\ud800"]'}, "no record has it"),
        ("tasks", {"after": "nowhere"}, "give the `next` of the page before"),
        ("tasks", {"all": "yes"}, "true or false, not 'yes'"),
        ("tasks", {"order": "random"}, "newest, oldest"),
        ("stale", {"older_than": "2"}, "has no unit"),
        ("overview", {"buckets": "501"}, "1 to 500"),
        ("states", {"name": "x"}, "no field 'name'"),
        ("task", {}, "id is missing"),
        ("replays/preview", {"state": "FAILURE", "rate": "nan"}, "must be a number"),
        ("replays/preview", {"state": "FAILURE", "rate": "1e999"}, "must be a number"),
    ],
)
def test_a_wrong_query_is_named(
    small: Celery, path: str, query: dict[str, Any], named: str
) -> None:
    answer = told(client_of(small).get(path, query), 400)

    assert named in answer["detail"]
    assert answer["status"] == 400


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("retry", b"", "no JSON"),
        ("retry", b"\xff", "no JSON"),
        ("retry", b"[" * 200_000, "nested too deeply"),
        ("retry", b"[]", "must be a JSON object"),
        ("retry", {}, "ids is missing"),
        ("retry", {"ids": []}, "empty list"),
        ("retry", {"ids": "abc"}, "must be a list, not 'abc'"),
        ("retry", {"ids": [1]}, "must be text, not 1"),
        ("retry", {"ids": ["x"] * 1001}, "1,000 is the most"),
        ("retry", {"ids": ["x"], "priority": True}, "whole number"),
        ("retry", {"ids": ["x"], "priority": 256}, "not 256"),
        ("retry", {"ids": ["x"], "missing": "stale", "args": []}, "cannot be changed"),
        ("retry", {"ids": ["x", "y"], "args": []}, "one task at a time"),
        ("retry", b'{"ids": ["x"], "priority": ' + b"9" * 5000 + b"}", "no JSON"),
        ("reschedule", {"ids": ["x"], "eta": "2h"}, "'2h' is no date"),
        ("failures/mute", {"group": "x", "until": "2h ago"}, "is past"),
        ("failures/mute", {"group": "x", "until": "2099-01-01"}, "more than 3,650 days away"),
        ("failures/mute", {"group": "x", "count": 0}, "from 1 to"),
        ("replays", {}, "at least one filter"),
        ("replays", {"state": ["FAILURE"], "stop_minimum": 5}, "stop_percent"),
        ("replays", {"state": ["FAILURE"], "rate": 0}, "from 1"),
    ],
)
def test_a_wrong_body_is_named(small: Celery, path: str, body: Any, named: str) -> None:
    answer = told(client_of(small).post(path, body), 400)

    assert named in answer["detail"]


def test_a_field_of_an_act_in_the_address_is_refused(small: Celery) -> None:
    answer = told(client_of(small).post("cancel?ids=x", {"ids": ["x"]}), 400)

    assert "'ids' must stand in the body" in answer["detail"]


HOSTILE = (
    *("\0", "a\0b", "../../etc/passwd", "<script>", "a/b?c#d", "'; DROP TABLE x; --", "é" * 2000),
    *("\u202egnp.exe", "%00", " ", "$where", '{"$gt": ""}', "a\r\nset-cookie: x=y"),
)


def test_hostile_names_and_ids_are_only_names(app: Celery, client: Client) -> None:
    app.send_task("shop.charge", (1,), task_id="victim")

    for hostile in HOSTILE:
        for path, query in (
            ("task", {"id": hostile}),
            ("explain", {"id": hostile, "offline": "true"}),
            ("replay", {"id": hostile}),
            ("failure", {"group": hostile}),
        ):
            assert client.get(path, query).status == 404, (path, hostile)
        for name in ("name", "queue", "worker", "root_id", "retry_of", "text", "state"):
            answer = client.get("tasks", {name: hostile})
            refused = "\0" in hostile and "NUL" in answer.text
            assert refused or told(answer)["tasks"] == [], (name, hostile)
        for path in ("cancel", "retry", "release", "send-now"):
            assert client.post(path, {"ids": [hostile]}).status == 409, (path, hostile)
        for path in ("failures/resolve", "failures/reopen"):
            assert client.post(path, {"group": hostile}).status == 404, (path, hostile)
        assert client.post("trigger", {"name": hostile}).status == 404, hostile
        deleted = client.post("delete", {"name": hostile})
        assert deleted.status == (400 if "\0" in hostile else 200), hostile
    assert app.fullresult.get("victim") is not None


def test_a_lone_surrogate_is_only_text(client: Client) -> None:
    answer = client.post("retry", b'{"ids": ["\\ud800"]}')

    assert answer.status == 409


def test_a_storage_that_does_not_answer_is_a_problem(
    small: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fullresult.storage import StorageError

    def silent(*_: Any) -> None:
        raise StorageError("the database does not answer")

    client = client_of(small)
    monkeypatch.setattr(small.fullresult.storage, "get", silent)

    assert told(client.get("task", {"id": "x"}), 503)["detail"] == "The database does not answer"


# --- the documentation


def page() -> str:
    return (Path(__file__).parents[2] / "docs" / "http-api.md").read_text(encoding="utf-8")


def test_the_examples_of_the_page_run(small: Celery, capsys: pytest.CaptureFixture[str]) -> None:
    users, *examples = re.findall(r"^```python\n(.*?)^```$", page(), re.MULTILINE | re.DOTALL)
    ids = browsing.failed(small, 3)
    known: dict[str, Any] = {"app": small, "TOKEN": TOKEN}

    exec(compile(users, "http-api.md", "exec"), known)
    small.conf.fullresult_web_users = None
    with browsing.served(create_app(small.fullresult, users=USERS)) as address:
        for example in examples:
            code = example.replace("http://127.0.0.1:8766", address)
            exec(compile(code, "http-api.md", "exec"), known)
        known["api"].close()

    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["ValueError"] * 3
    assert known["names"] == {"shop.charge"}
    assert sorted(known["failed"]) == sorted(ids)
    assert len(browsing.sent(small)) == 3


def test_the_page_names_every_address(small: Celery) -> None:
    named = set(re.findall(r"`(GET|POST) /([a-z/-]+)`", page()))

    assert named == set(Described(client_of(small).read("openapi.json")).operations)
