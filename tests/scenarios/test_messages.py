"""Messages a worker cannot take, results that are not wanted or odd, and ids used twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import celery
import kombu
import pytest
from celery import Celery

from fullresult import FullResult, TaskRecord
from tests.kit import workers
from tests.kit.workers import Scene

MODULE = "tests.apps.scenario_messages_app"


@pytest.fixture(scope="module")
def running(storage_kind: str, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """A worker with one process, which keeps what it cuts small."""
    with workers.running(storage_kind, request, module=MODULE) as scene:
        yield scene


@pytest.fixture
def stranger(running: Scene) -> Iterator[FullResult]:
    """An app on the same broker that has none of the tasks, and records."""
    with Celery("stranger", broker=running.settings["broker_url"], set_as_current=False) as app:
        app.conf.update(fullresult_storage=running.settings["fullresult_storage"])
        full = FullResult(app)
        yield full
        full.close()


def publish(running: Scene, body: Any, **how: Any) -> None:
    """Put a message on the worker's queue that Celery did not make."""
    with running.app.producer_or_acquire() as producer:
        producer.publish(body, exchange="", routing_key="celery", **how)


def headers(task_id: str, **more: Any) -> dict[str, Any]:
    """The least that makes a message a task of ours, as another language might send it."""
    return {"lang": "rust", "id": task_id, "task": "scenario.add", **more}


def told(record: TaskRecord) -> list[tuple[str, str | None]]:
    return [(execution.state, execution.exception_type) for execution in record.executions]


# --- Messages that no task can be made of


def test_a_task_that_is_not_registered(running: Scene) -> None:
    """It fails at once, and where it was refused is known."""
    task_id = running.app.send_task("scenario.nobody_knows", (1,), {"y": 2}).id

    record = running.final(task_id, "FAILURE")

    assert (record.name, record.args, record.kwargs) == ("scenario.nobody_knows", [1], {"y": 2})
    assert record.exception_type == "celery.exceptions.NotRegistered"
    assert "scenario.nobody_knows" in (record.exception_message or "")
    assert record.worker == "w1@test"
    assert record.date_started is None
    assert record.date_done is not None


def test_an_unregistered_task_of_a_publisher_that_is_not_recorded(running: Scene) -> None:
    """What the worker saw of the message is kept."""
    publish(running, ([1], {}, {}), headers=headers("foreign", task="rust.work"))

    record = running.final("foreign", "FAILURE")

    assert (record.name, record.args, record.date_published) == ("rust.work", [1], None)
    assert record.exception_type == "celery.exceptions.NotRegistered"


def test_a_content_type_that_the_worker_does_not_accept(running: Scene) -> None:
    """The record still has the arguments, which the publisher knew."""
    task_id = running.send("add", 1, 2, serializer="pickle")

    record = running.final(task_id, "REJECTED")

    assert (record.name, record.args) == ("scenario.add", [1, 2])
    assert record.exception_type == "kombu.exceptions.ContentDisallowed"
    assert record.worker == "w1@test"
    assert record.date_done is not None


def test_a_body_that_is_broken_on_its_way(running: Scene) -> None:
    """The worker drops it without a signal: still expected, the task becomes stale."""
    kombu.serialization.register(
        "broken",
        lambda value: kombu.serialization.dumps(value, "json")[2][:-5],
        lambda text: text,
        "application/json",
        "utf-8",
    )
    try:
        task_id = running.send("add", 1, 2, serializer="broken")
    finally:
        kombu.serialization.unregister("broken")
        kombu.serialization.register_json()

    running.settle()

    record = running.full.get(task_id)
    assert record is not None
    assert (record.state, record.executions) == ("PENDING", ())
    moved_before = running.full.storage.now()
    assert task_id in {r.task_id for r in running.full.find(open=True, moved_before=moved_before)}


def test_what_is_not_a_task_at_all_leaves_no_record(running: Scene) -> None:
    before = running.full.count()

    publish(running, {"hello": "world"})
    running.settle()

    assert running.full.count() == before + 1  # that of settle itself


@pytest.mark.parametrize("recorded", [True, False])
def test_an_eta_that_is_no_date(running: Scene, recorded: bool) -> None:
    """Rejected by the worker, whether or not its publisher was recorded; the record says why."""
    if recorded:
        task_id = running.send("add", 1, 2, headers={"eta": "soon"})
    else:
        task_id = "no date"
        publish(running, ([1, 2], {}, {}), headers=headers(task_id, eta="soon"))

    record = running.final(task_id, "REJECTED")

    assert (record.name, record.args, record.eta) == ("scenario.add", [1, 2], None)
    assert record.notes["eta"] == "not a date: 'soon'"
    assert record.exception_type == "celery.exceptions.InvalidTaskError"
    assert "soon" in (record.exception_message or "")


def test_keyword_arguments_that_are_no_mapping(running: Scene) -> None:
    """Celery fails around the task before it starts: its internal error is all there is."""
    publish(running, ([1], [2], {}), headers=headers("no mapping"))

    record = running.final("no mapping", "FAILURE")

    assert (record.name, record.args) == ("scenario.add", [1])
    assert record.exception_type is not None
    assert record.date_done is not None


def test_a_message_of_another_language(running: Scene) -> None:
    """Without origin, reprs or ids of relatives it is a task like any other."""
    publish(running, ([20, 22], {}, {}), headers=headers("from rust"))

    record = running.final("from rust", "SUCCESS")

    assert (record.name, record.args, record.result) == ("scenario.add", [20, 22], 42)
    assert (record.origin, record.argsrepr, record.parent_id) == (None, None, None)
    assert record.date_published is None


# --- By name, from a process without the task


def test_a_task_sent_by_name(running: Scene, stranger: FullResult) -> None:
    task_id = stranger.app.send_task("scenario.add", (1,), {"y": 2}, priority=3).id

    record = running.final(task_id, "SUCCESS")

    assert (record.name, record.args, record.kwargs) == ("scenario.add", [1], {"y": 2})
    assert (record.result, record.priority, record.worker) == (3, 3, "w1@test")
    assert record.date_published is not None
    assert record.origin is not None


# --- Results that nobody wants


def test_an_ignored_result_is_not_recorded(running: Scene) -> None:
    """All else is: the task ran, when and where."""
    task_id = running.send("add", 1, 2, ignore_result=True)

    record = running.final(task_id, "SUCCESS")

    assert (record.result, record.result_form) == (None, None)
    assert record.args == [1, 2]
    assert record.runtime is not None
    assert told(record) == [("SUCCESS", None)]


@pytest.mark.parametrize("by_name", [True, False])
def test_a_task_that_ignores_its_result(
    running: Scene, stranger: FullResult, by_name: bool
) -> None:
    """Also when its publisher does not know; Celery 5.4 says False for that one, and obeys."""
    if by_name:
        task_id = stranger.app.send_task("scenario.ignored", (7,)).id
    else:
        task_id = running.send("ignored", 7)

    record = running.final(task_id, "SUCCESS")

    wanted = record.headers["ignore_result"] is False
    assert wanted == (by_name and celery.VERSION[:2] < (5, 5))
    assert (record.args, record.result) == ([7], 7 if wanted else None)


def test_a_publisher_may_want_the_result_all_the_same(running: Scene) -> None:
    task_id = running.send("ignored", 7, ignore_result=False)

    record = running.final(task_id, "SUCCESS")

    assert record.result == 7


def test_errors_are_recorded_though_the_result_is_ignored(running: Scene) -> None:
    """Whatever `task_store_errors_even_if_ignored` says of the result backend."""
    task_id = running.send("ignored_that_fails", "broken")

    record = running.final(task_id, "FAILURE")

    assert (record.exception_type, record.exception_message) == ("ValueError", "broken")
    assert "in ignored_that_fails" in (record.traceback or "")


# --- Odd results


def test_a_result_that_the_backend_refuses(running: Scene) -> None:
    """Celery fails the task for it, and so does the record."""
    task_id = running.send("no_json")

    record = running.final(task_id, "FAILURE")

    assert record.exception_type == "kombu.exceptions.EncodeError"
    assert told(record) == [("FAILURE", "kombu.exceptions.EncodeError")]


def test_a_result_that_the_backend_would_refuse_if_it_were_asked(running: Scene) -> None:
    task_id = running.send("no_json", ignore_result=True)

    record = running.final(task_id, "SUCCESS")

    assert record.result is None


def test_an_exception_that_cannot_be_pickled(running: Scene) -> None:
    """Its own name and message are recorded, not those of what Celery wraps it in."""
    task_id = running.send("unpicklable", "locked")

    record = running.final(task_id, "FAILURE")

    assert record.exception_type == "tests.apps.scenario_messages_app.UnpicklableError"
    assert "locked" in (record.exception_message or "")
    assert "in unpicklable" in (record.traceback or "")


def test_a_result_of_two_megabytes(running: Scene) -> None:
    """Cut to `fullresult_max_text`, and said to be."""
    task_id = running.send("big", 2 * 1024 * 1024)

    record = running.final(task_id, "SUCCESS")

    assert record.result_form == "cut"
    assert "[cut: " in record.result
    assert len(record.result) < 1024 * 1024 + 100


# --- One id, twice


def test_an_id_that_is_used_twice_is_one_record(running: Scene) -> None:
    """Of two tasks under one id the record has the later run, arguments and all, and both runs."""
    for number in (1, 2):
        running.send("run_number", number, task_id="twice")
        running.settle()

    record = running.final("twice", "SUCCESS")

    assert record.args == [2]
    assert record.result == "twice ran with 2"
    first, second = record.executions
    assert first.date_started is not None
    assert second.date_started is not None
    assert first.date_started < second.date_started
    assert (second.state, second.date_started) == ("SUCCESS", record.date_started)
