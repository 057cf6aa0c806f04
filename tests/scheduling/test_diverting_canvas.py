"""What Celery can be told to do later, it does as it does it at once: by way of the storage.

Each case runs twice in the same worker, as it is and with a delay; results and records must agree.

Long because every case runs in one worker, and twice.
"""

from __future__ import annotations

import gc
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from celery import chain, chord, group
from celery.exceptions import ChordError, TaskRevokedError
from celery.exceptions import TimeoutError as GetTimeout
from celery.result import GroupResult
from kombu.exceptions import EncodeError

from fullresult import TaskRecord
from fullresult.record.headers import SCHEDULE_ID
from fullresult.record.schedule import Schedule
from tests.kit import servers, workers
from tests.kit.workers import Scene

MODULE = "tests.apps.scenario_diverting_app"
DELAY = 1.25
"""Seconds; written so in arguments, it stands for no delay where the two are compared."""

Start = Callable[[Scene, dict[str, Any]], Any]
"""Publishes a case, with the options that delay a part of it; returns Celery's result of it."""
CASES: dict[str, Start] = {}


def case(start: Start) -> Start:
    CASES[start.__name__] = start
    return start


def seconds(later: dict[str, Any]) -> float:
    """For tasks that are told by an argument how long to wait."""
    return float(later.get("countdown", 0))


# --- One task


@case
def plain(scene: Scene, later: dict[str, Any]) -> Any:
    return scene.task("add").apply_async((1, 2), **later)


@case
def by_eta(scene: Scene, later: dict[str, Any]) -> Any:
    eta = datetime.now(timezone.utc) + timedelta(seconds=DELAY) if later else None
    return scene.task("add").apply_async((1, 2), eta=eta)


@case
def failing(scene: Scene, later: dict[str, Any]) -> Any:
    return scene.task("fail").apply_async(("broken",), **later)


@case
def every_option(scene: Scene, later: dict[str, Any]) -> Any:
    """Priority, headers, stamps, shadow, limits, compression, and a serializer of its own."""
    return scene.task("told").apply_async(
        ([1, {"a": None}], "é"),
        {"key": 1.5},
        priority=4,
        headers={"tenant": "acme", "trace": {"id": "00-ab"}},
        shadow="told by another name",
        time_limit=20,
        soft_time_limit=10,
        compression="zlib",
        serializer="yaml",
        stamped_headers=["order"],
        order="7",
        **later,
    )


@case
def result_ignored(scene: Scene, later: dict[str, Any]) -> Any:
    scene.task("told").apply_async((), ignore_result=True, task_id=_id("ignored", later), **later)
    return scene.app.AsyncResult(_id("ignored", later))


@case
def expires_later(scene: Scene, later: dict[str, Any]) -> Any:
    return scene.task("told").apply_async((), expires=60, **later)


@case
def starmap(scene: Scene, later: dict[str, Any]) -> Any:
    return scene.task("add").starmap([(1, 2), (3, 4)]).apply_async(**later)


@case
def chunks(scene: Scene, later: dict[str, Any]) -> Any:
    return scene.task("add").chunks([(n, n) for n in range(4)], 2).apply_async(**later)


@case
def not_registered(scene: Scene, later: dict[str, Any]) -> Any:
    return scene.app.send_task("scenario.nobody_knows", (1,), **later)


@case
def pickle_is_not_accepted(scene: Scene, later: dict[str, Any]) -> Any:
    """Without a result: the worker throws it away."""
    task_id = _id("pickle", later)
    scene.task("add").apply_async((1, 2), serializer="pickle", task_id=task_id, **later)
    return scene.app.AsyncResult(task_id)


@case
def parent(scene: Scene, later: dict[str, Any]) -> Any:
    return scene.task("parent").apply_async((2,), **later)


# --- What follows a task


@case
def link_of_delayed(scene: Scene, later: dict[str, Any]) -> Any:
    add = scene.task("add")
    return add.apply_async((1, 2), link=[add.s(10), add.s(100)], **later)


@case
def link_delayed(scene: Scene, later: dict[str, Any]) -> Any:
    return scene.task("add").apply_async((1, 2), link=scene.task("add").s(10).set(**later))


@case
def errback_in_place_of_delayed(scene: Scene, later: dict[str, Any]) -> Any:
    errback = scene.task("errback_inline").s()
    return scene.task("fail").apply_async(("broken",), link_error=errback, **later)


@case
def errback_published_of_delayed(scene: Scene, later: dict[str, Any]) -> Any:
    errback = scene.task("errback_published").s()
    return scene.task("fail").apply_async(("broken",), link_error=errback, **later)


@case
def errback_delayed(scene: Scene, later: dict[str, Any]) -> Any:
    errback = scene.task("errback_published").s().set(**later)
    return scene.task("fail").apply_async(("broken",), link_error=errback)


@case
def chain_first_delayed(scene: Scene, later: dict[str, Any]) -> Any:
    add = scene.task("add")
    return chain(add.s(1, 2).set(**later), add.s(3), add.s(4)).apply_async()


@case
def chain_delayed(scene: Scene, later: dict[str, Any]) -> Any:
    add = scene.task("add")
    return chain(add.s(1, 2), add.s(3), add.s(4)).apply_async(**later)


@case
def chain_middle_delayed(scene: Scene, later: dict[str, Any]) -> Any:
    add = scene.task("add")
    return chain(add.s(1, 2), add.s(3).set(**later), add.s(4)).apply_async()


@case
def chain_last_delayed(scene: Scene, later: dict[str, Any]) -> Any:
    add = scene.task("add")
    return chain(add.s(1, 2), add.s(3), add.s(4).set(**later)).apply_async()


@case
def chain_failing_in_delayed(scene: Scene, later: dict[str, Any]) -> Any:
    add, fail = scene.task("add"), scene.task("fail")
    return chain(add.s(1, 2), fail.si("broken").set(**later), add.s(4)).apply_async()


@case
def chain_stamped(scene: Scene, later: dict[str, Any]) -> Any:
    told = scene.task("told")
    stamped: Any = chain(told.si(1), told.si(2).set(**later))
    stamped.stamp(order="7")
    return stamped.apply_async()


# --- Groups and chords


@case
def group_delayed(scene: Scene, later: dict[str, Any]) -> Any:
    return group(scene.task("add").s(n, n) for n in range(3)).apply_async(**later)


@case
def group_with_delayed_member(scene: Scene, later: dict[str, Any]) -> Any:
    add = scene.task("add")
    return group(add.s(1, 1), add.s(2, 2).set(**later), add.s(3, 3)).apply_async()


@case
def group_with_failing_delayed_member(scene: Scene, later: dict[str, Any]) -> Any:
    add, fail = scene.task("add"), scene.task("fail")
    return group(add.s(1, 1), fail.s("broken").set(**later)).apply_async()


@case
def chord_header_delayed(scene: Scene, later: dict[str, Any]) -> Any:
    return chord(scene.task("add").s(n, n).set(**later) for n in range(3))(scene.task("tsum").s())


@case
def chord_with_delayed_member(scene: Scene, later: dict[str, Any]) -> Any:
    add = scene.task("add")
    return chord([add.s(1, 1), add.s(2, 2).set(**later)])(scene.task("tsum").s())


@case
def chord_body_delayed(scene: Scene, later: dict[str, Any]) -> Any:
    add = scene.task("add")
    return chord([add.s(1, 1), add.s(2, 2)])(scene.task("tsum").s().set(**later))


@case
def chord_body_delayed_and_linked(scene: Scene, later: dict[str, Any]) -> Any:
    add = scene.task("add")
    body = scene.task("tsum").s().set(link=add.s(10), **later)
    return chord([add.s(1, 1), add.s(2, 2)])(body)


@case
def chord_with_delayed_failing_member(scene: Scene, later: dict[str, Any]) -> Any:
    """The body's errback is told, and the body is never run."""
    add, fail = scene.task("add"), scene.task("fail")
    body = scene.task("tsum").s().on_error(scene.task("errback_published").s())
    return chord([add.s(1, 1), fail.s("broken").set(**later)])(body)


@case
def chord_with_chain_in_header(scene: Scene, later: dict[str, Any]) -> Any:
    """The root of the body is the chain that ends last: the two look alike."""
    add = scene.task("add")
    header = [chain(add.s(1, 1), add.s(2).set(**later)), chain(add.s(1, 1), add.s(4))]
    return chord(header)(scene.task("tsum").s())


@case
def chord_with_retry_in_header(scene: Scene, later: dict[str, Any]) -> Any:
    header = [scene.task("retried_in").s(seconds(later), 2), scene.task("add").s(3, 3)]
    return chord(header)(scene.task("tsum").s())


@case
def chord_with_replacement_in_header(scene: Scene, later: dict[str, Any]) -> Any:
    header = [scene.task("replaced_in").s(1, seconds(later)), scene.task("add").s(3, 3)]
    return chord(header)(scene.task("tsum").s())


@case
def chain_of_group_and_more(scene: Scene, later: dict[str, Any]) -> Any:
    """A chord to Celery, between two other tasks."""
    add, tsum = scene.task("add"), scene.task("tsum")
    members = group(add.s(10), add.s(20).set(**later))
    return chain(add.s(1, 1), members, tsum.s().set(**later), add.s(100)).apply_async()


@case
def chord_in_a_task(scene: Scene, later: dict[str, Any]) -> Any:
    return scene.task("parent_of_waiting_chord").apply_async((seconds(later),))


# --- What tasks do with themselves


@case
def retried(scene: Scene, later: dict[str, Any]) -> Any:
    return scene.task("retried_in").apply_async((seconds(later), 2))


@case
def retried_from_delayed(scene: Scene, later: dict[str, Any]) -> Any:
    return scene.task("retried_in").apply_async((seconds(later), 1), priority=5, **later)


@case
def retried_too_often(scene: Scene, later: dict[str, Any]) -> Any:
    return scene.task("retried_in").apply_async((seconds(later) / 5, 9))


@case
def retried_with_other_arguments(scene: Scene, later: dict[str, Any]) -> Any:
    return scene.task("retried_with").apply_async((1, seconds(later)))


@case
def retried_in_chain(scene: Scene, later: dict[str, Any]) -> Any:
    add = scene.task("add")
    return chain(add.s(1, 1), scene.task("retried_in").si(seconds(later), 1), add.s(5))()


@case
def retried_by_itself(scene: Scene, later: dict[str, Any]) -> Any:
    """Twice, and then it fails: by autoretry_for with a backoff of 1 s and 2 s."""
    return scene.task("autoretried" if later else "autoretried_at_once").apply_async()


@case
def replaced(scene: Scene, later: dict[str, Any]) -> Any:
    return scene.task("replaced_in").apply_async((1, seconds(later)))


@case
def replaced_in_chain(scene: Scene, later: dict[str, Any]) -> Any:
    replaced = scene.task("replaced_in").si(1, seconds(later))
    return chain(replaced, scene.task("add").s(5))()


@case
def replaced_by_group(scene: Scene, later: dict[str, Any]) -> Any:
    return scene.task("replaced_by_group_in").apply_async((seconds(later),))


@case
def parent_of_waiting(scene: Scene, later: dict[str, Any]) -> Any:
    return scene.task("parent_of_waiting").apply_async((seconds(later),))


# --- Running them


FAILING = {
    *("failing", "not_registered", "errback_in_place_of_delayed", "errback_delayed"),
    *("errback_published_of_delayed", "chain_failing_in_delayed", "retried_too_often"),
    *("group_with_failing_delayed_member", "chord_with_delayed_failing_member"),
    "retried_by_itself",
}
WITHOUT_RESULT = {"result_ignored", "pickle_is_not_accepted"}


def _on(broker: str, backend: str, storage: str, marks: Any = ()) -> Any:
    return pytest.param((broker, backend, storage), id=f"{broker}-{backend}-{storage}", marks=marks)


COMBINATIONS = [
    _on("redis", "redis", "sqlite"),
    _on("rabbitmq", "database", "postgresql", pytest.mark.slow),
    _on("redis", "redis", "mongodb", pytest.mark.slow),
    _on("redis", "database", "sqlite", pytest.mark.campaign),
    _on("rabbitmq", "redis", "postgresql", pytest.mark.campaign),
    _on("rabbitmq", "database", "mongodb", pytest.mark.campaign),
    _on("redis", "redis", "mongodb-single", pytest.mark.campaign),
    _on("rabbitmq", "database", "mongodb-single", pytest.mark.campaign),
]


@dataclass
class Matrix:
    """Every case, started twice: at once, and with a delay."""

    scene: Scene
    started: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def start(self) -> None:
        for name, start in CASES.items():
            self.started[name] = start(self.scene, {}), start(self.scene, {"countdown": DELAY})


@pytest.fixture(scope="module", params=COMBINATIONS)
def matrix(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Matrix]:
    """One worker for all cases, which are all under way."""
    broker, backend, kind = request.param
    directory = tmp_path_factory.mktemp("matrix")
    with ExitStack() as stack:
        settings: dict[str, Any] = {
            "fullresult_schedule_eta": True,
            "result_backend": stack.enter_context(_backend(backend, request)),
            "result_chord_retry_interval": 0.3,
            "accept_content": ["json", "yaml"],
        }
        url = stack.enter_context(_broker(broker, request))
        storage = stack.enter_context(workers.storage(kind, request, directory))
        scene = stack.enter_context(
            workers.scene(url, storage, directory, module=MODULE, **settings)
        )
        stack.enter_context(scene.worker(concurrency=4))
        matrix = Matrix(scene)
        matrix.start()
        yield matrix
        matrix.started.clear()
        gc.collect()  # Celery's results talk to their backend when they go.


def _broker(kind: str, request: pytest.FixtureRequest) -> Any:
    server = request.getfixturevalue(f"{kind}_server")
    return servers.redis_database(server) if kind == "redis" else servers.rabbitmq_vhost(server)


@contextmanager
def _backend(kind: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a result backend of Celery's own, with nothing in it."""
    if kind == "redis":
        with servers.redis_database(request.getfixturevalue("redis_server")) as url:
            yield url
        return
    with servers.postgresql_database(request.getfixturevalue("postgresql_server")) as url:
        yield "db+" + url.replace("postgresql://", "postgresql+psycopg://")


@pytest.mark.parametrize("name", CASES)
def test_a_delay_changes_nothing_but_the_time(matrix: Matrix, name: str) -> None:
    """The result and every record are those of the same case without the delay."""
    at_once, delayed = matrix.started[name]

    if name not in WITHOUT_RESULT:
        assert outcome(delayed) == outcome(at_once)
        assert at_once.failed() == (name in FAILING)
    expected, found = settled(matrix.scene, at_once), settled(matrix.scene, delayed)
    assert shown(found) == shown(expected)
    assert lasted(found) >= timedelta(seconds=DELAY) * (name != "retried_too_often") / 1.3
    for record in found:
        assert (
            record.eta is None or record.date_started is None or record.date_started >= record.eta
        )


def test_no_message_went_to_the_broker_with_its_eta(matrix: Matrix) -> None:
    """But that of `celery.chord_unlock`: every other delay was waited for in the storage."""
    for name in CASES:
        settled(matrix.scene, matrix.started[name][1])

    log = matrix.scene.workers[0].read_log()
    lines = [line for line in log.splitlines() if "held with eta" in line]

    assert [line for line in lines if "celery.chord_unlock" not in line] == []
    assert matrix.scene.full.scheduled() == []


# --- What ends while it waits


def test_a_task_that_expires_while_it_waits_is_revoked(matrix: Matrix) -> None:
    """As the worker that takes it too late would have it; and it is never sent."""
    task_id = matrix.scene.send("add", 1, 2, countdown=DELAY, expires=DELAY / 3)

    record = matrix.scene.eventually(task_id, workers.is_finished)

    assert (record.state, record.exception_message) == ("REVOKED", "expired")
    assert record.date_started is None
    assert record.exception_type == "celery.exceptions.TaskRevokedError"
    assert task_id not in matrix.scene.workers[0].read_log()
    assert waiting(matrix.scene, task_id) == []


def test_a_task_that_is_revoked_while_it_waits(matrix: Matrix) -> None:
    """It is gone from the storage, though no worker has ever seen it."""
    task_id = matrix.scene.send("add", 1, 2, countdown=3600)
    (schedule,) = waiting(matrix.scene, task_id)

    matrix.scene.app.control.revoke(task_id)

    record = matrix.scene.eventually(task_id, workers.is_finished, timeout=0)
    assert schedule.task_id == task_id
    assert (record.state, record.exception_message) == ("REVOKED", "revoked")
    assert waiting(matrix.scene, task_id) == []


def test_who_waits_for_the_result_of_an_expired_task_is_told(matrix: Matrix) -> None:
    result = matrix.scene.task("add").apply_async((1, 2), countdown=DELAY, expires=DELAY / 3)

    with pytest.raises(TaskRevokedError):
        result.get(timeout=DELAY + 2)


def test_who_waits_for_the_result_of_a_revoked_task_is_told(matrix: Matrix) -> None:
    result = matrix.scene.task("add").apply_async((1, 2), countdown=DELAY)

    result.revoke()

    with pytest.raises(TaskRevokedError):
        result.get(timeout=DELAY + 2)


def test_a_chord_with_a_member_that_expires_while_it_waits_fails(matrix: Matrix) -> None:
    """Its body would wait for ever for a member that is never sent."""
    add = matrix.scene.task("add")
    expiring = add.s(2, 2).set(countdown=DELAY, expires=DELAY / 3)

    result = chord([add.s(1, 1), expiring])(matrix.scene.task("tsum").s())

    assert isinstance(result.get(timeout=workers.PATIENCE, propagate=False), ChordError)


def test_arguments_that_cannot_be_serialised_are_the_callers_error(matrix: Matrix) -> None:
    """The record says what it says of a task without a delay."""
    told = [unserialisable(matrix.scene, later) for later in ({}, {"countdown": DELAY})]

    assert told[0] == told[1]
    assert told[0][0] == "UNSENT"
    assert waiting(matrix.scene, "unserialisable-later") == []


def unserialisable(scene: Scene, later: dict[str, Any]) -> list[Any]:
    task_id = _id("unserialisable", later)
    with pytest.raises(EncodeError):
        scene.send("add", object(), 2, task_id=task_id, **later)
    record = scene.full.get(task_id)
    if record is None:
        return []
    return [record.state, record.name, record.exception_type, record.notes, record.executions]


def waiting(scene: Scene, task_id: str) -> list[Schedule]:
    return [each for each in scene.full.scheduled() if each.task_id == task_id]


# --- What is compared


def outcome(result: Any) -> Any:
    """What a caller who waits for a result is told; of a failure its type and text."""
    if isinstance(result, GroupResult):
        return [outcome(member) for member in result.results]
    try:
        value = result.get(timeout=workers.PATIENCE, propagate=False)
    except GetTimeout:
        raise AssertionError(f"{result} has no answer, and is {result.state}") from None
    if isinstance(value, BaseException):
        return type(value).__name__, UUID.sub("#", str(value))
    return unnamed(json.loads(UUID.sub("#", simplified(json.dumps(value)))))


def unnamed(value: Any) -> Any:
    """*value* as JSON has it, without the header that names a message's schedule."""
    return json.loads(json.dumps(value), object_hook=_without_schedule_id)


def _without_schedule_id(mapping: dict[str, Any]) -> dict[str, Any] | None:
    """No headers at all are None in a request."""
    rest = {name: value for name, value in mapping.items() if name != SCHEDULE_ID}
    return rest if rest or not mapping else None


def settled(scene: Scene, result: Any) -> list[TaskRecord]:
    """The records of a case, when all that began has ended."""
    found: list[TaskRecord] = []

    def is_settled() -> bool:
        before = [(record.task_id, record.date_updated) for record in found]
        found[:] = records(scene, result)
        now = [(record.task_id, record.date_updated) for record in found]
        return bool(now) and now == before and all(map(workers.is_finished, found))

    if not workers.until(is_settled):
        told = "\n".join(map(workers.describe, found))
        raise AssertionError(f"not at an end:\n{told}\n{scene.logs()}")
    return found


def records(scene: Scene, result: Any) -> list[TaskRecord]:
    """The tasks of *result* and of those before it, and all under the same roots."""
    found: dict[str, TaskRecord] = {}
    for task_id in ids(result):
        under = scene.full.find(root_id=task_id, limit=None)
        found.update((record.task_id, record) for record in under)
        if record := scene.full.get(task_id):
            found[task_id] = record
    return list(found.values())


def ids(result: Any) -> set[str]:
    own = {result.id}
    members = result.results if isinstance(result, GroupResult) else []
    before = [result.parent] if getattr(result, "parent", None) else []
    return own.union(*map(ids, [*members, *before]))


def lasted(found: list[TaskRecord]) -> timedelta:
    ends = [record.date_done or record.date_updated for record in found]
    return max(ends) - min(record.date_created for record in found)


def shown(found: list[TaskRecord]) -> list[dict[str, Any]]:
    """All that the records say but ids, dates, processes and the delay itself."""
    by_id = {record.task_id: record for record in found}

    def named(task_id: str | None) -> str:
        record = by_id.get(task_id or "")
        if record is None:
            return "#" if task_id else "nobody"
        # Of a chord's members any may be the last one, who publishes its body.
        return "a member" if record.group_id else f"{record.name} {record.args}"

    told = [
        {
            "name": record.name,
            "args": record.args,
            "kwargs": record.kwargs,
            "state": record.state,
            "result": (record.result_form, unnamed(record.result)),
            "failure": (record.exception_type, record.exception_message),
            "traceback": record.traceback is not None,
            "runs": workers.runs(record),
            "parent": named(record.parent_id),
            "root": named(record.root_id),
            "member": record.group_id is not None,
            "children": [] if record.group_id else sorted(map(named, record.children)),
            "embed": without_countdown(record.embed),
            "sent": (record.queue, record.exchange, record.routing_key, record.priority),
            "headers": [f"{name}: {record.headers.get(name)}" for name in COMPARED],
            "properties": sorted(record.properties.keys() - {"expiration", "declare"}),
            "content_type": record.message and record.message.content_type,
            "notes": record.notes,
            "dates": [record.date_published is not None, record.date_started is not None],
            "stale": record.expires is not None,
        }
        for record in found
    ]
    texts = (simplified(UUID.sub("#", json.dumps(each, sort_keys=True))) for each in told)
    return [json.loads(text) for text in sorted(texts)]


COMPARED = ("shadow", "group_index", "timelimit", "retries", "stamps", "tenant", "trace")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(ignored|pickle)-(now|later)")


def simplified(text: str) -> str:
    """Text without what tells the two ways of starting a case apart."""
    delays = "|".join(re.escape(str(delay)) for delay in (DELAY, DELAY / 5))
    text = re.sub(rf"\b({delays})\b", "0.0", text)
    return text.replace("autoretried_at_once", "autoretried")


def without_countdown(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_countdown(v) for k, v in value.items() if k != "countdown"}
    return [without_countdown(each) for each in value] if isinstance(value, list) else value


def _id(name: str, later: dict[str, Any]) -> str:
    return f"{name}-{'later' if later else 'now'}"
