"""Result backends in a real worker: what a client that waits gets to see of a task's life.

Long because one worker for each backend, which is dear, serves all sections.
"""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import TYPE_CHECKING, Any

import celery
import pytest
from celery.exceptions import TaskRevokedError
from celery.exceptions import TimeoutError as GetTimeout
from kombu.exceptions import EncodeError

from tests.apps.scenario_backend_app import OrderError
from tests.kit import workers
from tests.kit.backend_contract import OURS, PATIENCE, WITH_WORKERS, scene_on

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from celery.result import AsyncResult

    from tests.kit.workers import Pool, Scene

SLOTS = 4


@pytest.fixture(scope="module", params=WITH_WORKERS)
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """A prefork worker, with `result_extended` and `task_track_started`."""
    directory = tmp_path_factory.mktemp("backend-worker")
    settings = {"result_extended": True, "task_track_started": True}
    with (
        scene_on(request.param, request, directory, **settings) as scene,
        scene.worker(concurrency=SLOTS),
    ):
        yield scene


def send(scene: Scene, name: str, *args: Any, **options: Any) -> AsyncResult[Any]:
    result: AsyncResult[Any] = scene.task(name).apply_async(args, **options)
    return result


def comes_to(result: AsyncResult[Any], state: str) -> bool:
    """Whether it is in *state* in time."""
    return workers.until(lambda: result.state == state)


def from_outside(scene: Scene, name: str, *args: Any, **headers: Any) -> str:
    """Publish as another language's client might: the least that protocol 2 asks for."""
    task_id = str(uuid.uuid4())
    body = json.dumps([list(args), {}, {}])
    with scene.app.producer_or_acquire() as producer:
        producer.publish(
            body,
            routing_key="celery",
            content_type="application/json",
            content_encoding="utf-8",
            headers={"id": task_id, "task": name, "lang": "go", "root_id": task_id, **headers},
            correlation_id=task_id,
        )
    return task_id


# --- Ends


def test_success(running: Scene) -> None:
    result = send(running, "tell", {"a": [1, None, "é"]})

    assert result.get(timeout=PATIENCE) == {"a": [1, None, "é"]}
    assert (result.state, result.traceback) == ("SUCCESS", None)


def test_the_extended_fields(running: Scene) -> None:
    result = send(running, "add", 1, kwargs={"y": 2})

    assert result.get(timeout=PATIENCE) == 3
    assert (result.name, list(result.args), result.kwargs) == ("scenario.add", [1], {"y": 2})
    assert (result.worker, result.retries, result.queue) == ("w1@test", 0, "celery")
    assert isinstance(result.date_done, datetime)


def test_failure(running: Scene) -> None:
    """An application's own exception, with its arguments, and the worker's traceback."""
    result = send(running, "fail_with_own")

    with pytest.raises(OrderError) as caught:
        result.get(timeout=PATIENCE)

    assert caught.value.args == (7, "sold out")
    assert "in fail_with_own" in str(result.traceback)


def test_a_result_that_cannot_be_encoded(running: Scene) -> None:
    """The task has failed, with the error of the encoder, and nobody waits for ever."""
    result = send(running, "not_encodable")

    with pytest.raises(EncodeError):
        result.get(timeout=PATIENCE)


def test_a_task_that_nobody_knows(running: Scene) -> None:
    result = running.app.send_task("scenario.nobody_knows")

    with pytest.raises(celery.exceptions.NotRegistered):
        result.get(timeout=PATIENCE)


def test_a_retry_is_seen(running: Scene, tmp_path: Path) -> None:
    """As RETRY with its reason while the next attempt waits, as STARTED while that runs."""
    go = tmp_path / "go"
    result = send(running, "retry_when_told", str(go))

    assert comes_to(result, "RETRY")
    # The next attempt is published before the reason is stored.
    assert workers.until(lambda: isinstance(result.info, ConnectionError))
    assert comes_to(result, "STARTED")
    go.touch()

    assert result.get(timeout=PATIENCE) == "retried"
    assert result.retries == 1


def test_retries_that_are_used_up(running: Scene) -> None:
    result = send(running, "retry", 9)

    with pytest.raises(ConnectionError, match="attempt 3"):
        result.get(timeout=PATIENCE)


def test_started_is_seen(running: Scene, tmp_path: Path) -> None:
    """With `task_track_started`; its info is the process that runs it."""
    go = tmp_path / "go"
    result = send(running, "wait_for", str(go))

    assert comes_to(result, "STARTED")
    assert result.info["hostname"] == "w1@test"
    assert isinstance(result.info["pid"], int)
    go.touch()

    assert result.get(timeout=PATIENCE) == "done"


def test_progress_is_seen(running: Scene, tmp_path: Path) -> None:
    """Each step with its meta, by a client that asks again and again."""
    go = tmp_path / "go"
    result = send(running, "progress", 3, str(go))

    def tells(step: int) -> bool:
        return (result.state, result.info) == ("PROGRESS", {"step": step})

    for step in range(3):
        assert workers.until(partial(tells, step))
        (tmp_path / f"go.{step}").touch()

    assert result.get(timeout=PATIENCE) == "done"


def test_revoked_before_it_starts(running: Scene) -> None:
    result = send(running, "tell", 1, countdown=2)
    running.revoke(result.id)

    with pytest.raises(TaskRevokedError, match="revoked"):
        result.get(timeout=PATIENCE)
    assert result.state == "REVOKED"


def test_terminated(running: Scene, tmp_path: Path) -> None:
    result = send(running, "wait_for", str(tmp_path / "never"))
    assert comes_to(result, "STARTED")

    running.revoke(result.id, terminate=True)

    with pytest.raises(TaskRevokedError, match="terminated"):
        result.get(timeout=PATIENCE)


def test_expired(running: Scene) -> None:
    result = send(running, "tell", 1, expires=datetime.now(timezone.utc) - timedelta(seconds=5))

    with pytest.raises(TaskRevokedError, match="expired"):
        result.get(timeout=PATIENCE)


def test_a_hard_time_limit(running: Scene) -> None:
    """Told by the main process, which kills the one that runs it."""
    result = send(running, "exceed")

    error = result.get(timeout=PATIENCE, propagate=False)

    assert "TimeLimitExceeded" in type(error).__name__
    assert result.state == "FAILURE"


def test_a_lost_process(running: Scene) -> None:
    result = send(running, "die")

    error = result.get(timeout=PATIENCE, propagate=False)

    assert type(error).__name__ == "WorkerLostError"


def test_a_lost_process_whose_task_is_delivered_again(running: Scene, tmp_path: Path) -> None:
    """The second delivery's success is what counts."""
    result = send(running, "die_once", str(tmp_path / "died"))

    assert result.get(timeout=PATIENCE) == "lived"


# --- What is not kept


def test_an_ignored_result(running: Scene) -> None:
    """`get` does not wait for it; its value, which is 1, is not kept."""
    result = send(running, "ignored_result")
    assert send(running, "tell", 1).get(timeout=PATIENCE) == 1

    assert result.get(timeout=PATIENCE) is None
    assert running.app.AsyncResult(result.id).result != 1


def test_a_result_that_the_publisher_ignores(running: Scene) -> None:
    """By the option of `apply_async`."""
    result = send(running, "tell", 1, ignore_result=True)
    assert send(running, "tell", 1).get(timeout=PATIENCE) == 1

    assert running.app.AsyncResult(result.id).result is None


def test_an_error_that_is_stored_even_if_ignored(running: Scene) -> None:
    result = send(running, "ignored_failure_stored")

    with pytest.raises(ValueError, match="stored all the same"):
        running.app.AsyncResult(result.id).get(timeout=PATIENCE)


def test_an_error_that_is_ignored(running: Scene) -> None:
    """Celery's own store nothing; ours shows the record, which has it."""
    ours = running.settings["result_backend"].startswith("fullresult")
    result = send(running, "ignored_failure")
    assert send(running, "tell", 1).get(timeout=PATIENCE) == 1

    seen = running.app.AsyncResult(result.id)

    if ours:
        assert comes_to(seen, "FAILURE")
    else:
        assert not isinstance(seen.result, ValueError)


@pytest.mark.parametrize("state", ["CUSTOM", "FAILURE"])
def test_a_task_that_tells_a_state_and_raises_ignore(running: Scene, state: str) -> None:
    """Celery's own advice to those who want to choose how a task ends."""
    result = send(running, "ignore", state)

    assert comes_to(result, state)
    assert send(running, "tell", 1).get(timeout=PATIENCE) == 1
    assert running.app.AsyncResult(result.id).state == state


# --- From elsewhere


def test_a_message_of_another_language(running: Scene) -> None:
    """Without origin, argsrepr and all else that only Python's client adds."""
    task_id = from_outside(running, "scenario.add", 1, 2)

    assert running.app.AsyncResult(task_id).get(timeout=PATIENCE) == 3


def test_a_failure_of_another_languages_message(running: Scene) -> None:
    task_id = from_outside(running, "scenario.fail", "broken")

    with pytest.raises(ValueError, match="broken"):
        running.app.AsyncResult(task_id).get(timeout=PATIENCE)


def test_a_client_that_asks_before_anything_was_published(running: Scene) -> None:
    """The id is agreed on beforehand; the waiting starts first."""
    task_id = str(uuid.uuid4())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(running.app.AsyncResult(task_id).get, timeout=PATIENCE)
        send(running, "tell", "late", task_id=task_id)

        assert waiting.result(PATIENCE) == "late"


# --- Families


def test_children(running: Scene) -> None:
    """The tree of what a task published, and of what that published."""
    result = send(running, "publish", 3)
    assert result.get(timeout=PATIENCE) == 3

    children = result.children

    assert len(children) == 3
    for child in children:
        assert child.get(timeout=PATIENCE) == 1
        assert [leaf.get(timeout=PATIENCE) for leaf in child.children] == [0]


def test_a_task_that_waits_for_its_own(running: Scene) -> None:
    assert send(running, "wait_inside", 5).get(timeout=PATIENCE) == 20


def test_a_task_that_waits_though_it_must_not(running: Scene) -> None:
    with pytest.raises(RuntimeError, match="Never call"):
        send(running, "wait_inside_forbidden").get(timeout=PATIENCE)


@pytest.mark.parametrize(
    ("how", "expected"),
    [("task", 10), ("chain", 40), ("group", [10, 12, 14]), ("chord", 36), ("replaced", 10)],
)
def test_replaced(running: Scene, how: str, expected: Any) -> None:
    """The replacement's result is the task's, under the task's id."""
    assert send(running, "replace_with", how, 5).get(timeout=PATIENCE) == expected


def test_replaced_by_what_fails(running: Scene) -> None:
    with pytest.raises(ValueError, match="spoilt 5"):
        send(running, "replace_with", "failing", 5).get(timeout=PATIENCE)


# --- Many at once


@pytest.mark.slow
def test_fifty_threads(running: Scene) -> None:
    """Each publishes and waits, as a web server's do."""

    def ask(n: int) -> Any:
        return send(running, "double", n).get(timeout=PATIENCE)

    with ThreadPoolExecutor(50) as pool:
        values = list(pool.map(ask, range(200)))

    assert values == [n * 2 for n in range(200)]


def test_forgotten_while_it_runs(running: Scene, tmp_path: Path) -> None:
    """Its end is stored all the same, as it is told after."""
    go = tmp_path / "go"
    result = send(running, "wait_for", str(go))
    assert comes_to(result, "STARTED")

    result.forget()
    go.touch()

    assert running.app.AsyncResult(result.id).get(timeout=PATIENCE) == "done"


@pytest.mark.slow
@pytest.mark.parametrize("size", [150, pytest.param(1000, marks=pytest.mark.campaign)])
def test_results_of_many(running: Scene, size: int) -> None:
    tasks = celery.group(running.task("double").s(n) for n in range(size))

    assert tasks.apply_async().get(timeout=100) == [n * 2 for n in range(size)]


# --- Other pools


OFTEN_POOLED = [("threads", "fullresult-sqlite"), ("gevent", "fullresult-sqlite")]
RARELY_POOLED = [
    (pool, kind)
    for pool in ("threads", "gevent", "solo")
    for kind in ("redis", *OURS)
    if (pool, kind) not in OFTEN_POOLED
]


@pytest.fixture(
    params=[
        *OFTEN_POOLED,
        *(pytest.param(both, marks=pytest.mark.campaign) for both in RARELY_POOLED),
    ],
    ids="-".join,
)
def pooled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    """A worker of another pool."""
    pool: Pool = request.param[0]
    with (
        scene_on(request.param[1], request, tmp_path, task_track_started=True) as scene,
        scene.worker(pool=pool, concurrency=1 if pool == "solo" else 10),
    ):
        yield scene


@pytest.mark.slow
def test_another_pool(pooled: Scene) -> None:
    """Success, failure, retries, chords and waiting inside, with many tasks in one process."""
    solo = "--pool=solo" in pooled.logs() or "(solo)" in pooled.logs()
    double, total = pooled.task("double"), pooled.task("total")
    plain = [send(pooled, "double", n) for n in range(50)]
    retried = send(pooled, "retry", 2)
    failed = send(pooled, "fail_with_own")
    summed = celery.chord(double.s(n) for n in range(50))(total.s())
    # With a single slot a task cannot wait for another. One: leave to wait is of the whole process.
    inside = [] if solo else [send(pooled, "wait_inside", 3)]
    replaced = send(pooled, "replace_with", "chord", 5)

    assert [result.get(timeout=PATIENCE) for result in plain] == [n * 2 for n in range(50)]
    assert retried.get(timeout=PATIENCE) == 2
    with pytest.raises(OrderError):
        failed.get(timeout=PATIENCE)
    assert summed.get(timeout=PATIENCE) == 49 * 50
    assert [result.get(timeout=PATIENCE) for result in inside] == [6 for _ in inside]
    assert replaced.get(timeout=PATIENCE) == 36


def test_waiting_for_a_worker_that_comes_later(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Publishing and waiting need no worker; whoever waits sees the result when it is there."""
    with scene_on("fullresult-sqlite", request, tmp_path) as scene:
        result = send(scene, "tell", "late")
        with pytest.raises(GetTimeout):
            result.get(timeout=0.2)

        with scene.worker():
            assert result.get(timeout=PATIENCE) == "late"
