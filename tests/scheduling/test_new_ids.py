"""`fullresult_schedule_new_id`: a task goes on under a new id, and its outcome comes back.

Long because its cases share one worker for each storage.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from celery import chain, chord, group
from celery.exceptions import TaskRevokedError, TimeLimitExceeded
from celery.result import AsyncResult

from tests.kit import other_results, servers, workers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fullresult import TaskRecord

SOON = 0.2
LATER = 3600


@contextmanager
def scene(
    kind: str, redis_server: str, storage: str, directory: Path, **settings: Any
) -> Iterator[workers.Scene]:
    """An app with this result backend, whose worker sweeps."""
    with servers.redis_database(redis_server) as broker:
        backend = broker if kind == "redis" else other_results.database(directory / "results.db")
        wanted: dict[str, Any] = {
            "result_backend": backend,
            "fullresult_schedule_eta": True,
            "fullresult_schedule_new_id": True,
            "fullresult_sweep_interval": 0.1,
            **settings,
        }
        module = "tests.apps.scenario_new_id_app"
        with workers.scene(broker, storage, directory, module=module, **wanted) as running:
            yield running


@pytest.fixture(scope="module", params=["redis", "database"])
def running(
    request: pytest.FixtureRequest,
    storage_kind: str,
    redis_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[workers.Scene]:
    """A worker with two processes."""
    if request.param == "database":
        pytest.importorskip("sqlalchemy")
    directory = tmp_path_factory.mktemp("new-ids")
    with (
        workers.storage(storage_kind, request, directory) as storage,
        scene(request.param, redis_server, storage, directory) as running,
        running.worker(concurrency=2),
    ):
        yield running


@pytest.fixture
def without_worker(redis_server: str, storage_url: str, tmp_path: Path) -> Iterator[workers.Scene]:
    with scene("redis", redis_server, storage_url, tmp_path) as running:
        yield running


def result_of(scene: workers.Scene, task_id: str) -> AsyncResult[Any]:
    """What somebody holds who published the task."""
    return AsyncResult(task_id, app=scene.app)


def outcome(scene: workers.Scene, task_id: str) -> Any:
    return result_of(scene, task_id).get(timeout=workers.PATIENCE)


def new_id_of(scene: workers.Scene, task_id: str) -> str:
    """The id that a task was sent under."""
    record = scene.eventually(task_id, workers.has_state("SCHEDULED_SENT"))
    assert list(record.result) == ["new_task_id"]
    return str(record.result["new_task_id"])


def successor(scene: workers.Scene, task_id: str, state: str = "SUCCESS") -> TaskRecord:
    """The record of the task that goes on for another, once it is in *state*."""
    return scene.eventually(new_id_of(scene, task_id), workers.has_state(state))


def test_the_result_comes_back_under_the_first_id(running: workers.Scene) -> None:
    """The first task ends as SCHEDULED_SENT, naming the one that goes on; `get` returns."""
    task_id = running.send("add", 1, 2, countdown=SOON)

    result = outcome(running, task_id)

    first, second = running.full.get(task_id), successor(running, task_id)
    assert result == 3
    assert first is not None
    assert first.date_done is not None
    assert first.date_started is None
    assert first.args == second.args == [1, 2]
    assert second.task_id != task_id
    assert (second.parent_id, second.root_id) == (task_id, task_id)
    assert outcome(running, second.task_id) == 3


def test_a_task_that_finished_under_its_new_id_is_not_stale(running: workers.Scene) -> None:
    task_id = running.send("add", 1, 2, countdown=SOON)
    successor(running, task_id)

    stale = running.full.get_stale_tasks(timedelta(0))

    assert task_id not in [record.task_id for record in stale]


def test_a_failure_is_raised_as_itself(running: workers.Scene) -> None:
    """The exception comes with its type, message and traceback."""
    task_id = running.send("fail", "broken", countdown=SOON)

    with pytest.raises(ValueError, match="broken"):
        outcome(running, task_id)

    assert "ValueError: broken" in str(result_of(running, task_id).traceback)
    assert result_of(running, task_id).state == "FAILURE"


@pytest.mark.parametrize("name", ["retry", "autoretry", "retry_with_headers"])
def test_what_retries_keeps_its_new_id(running: workers.Scene, name: str) -> None:
    """Its attempts have one id, and the last one's result comes back under the first id."""
    task_id = running.send(name, 2, countdown=SOON)

    result = outcome(running, task_id)

    second = successor(running, task_id)
    assert result == 2
    assert [run.retries for run in second.executions] == [0, 1, 2]


def test_what_retries_in_vain_fails(running: workers.Scene) -> None:
    task_id = running.send("autoretry", 9, countdown=SOON)

    with pytest.raises(OSError, match="attempt"):
        outcome(running, task_id)


@pytest.mark.parametrize(
    ("name", "result"),
    [("replaced", 3), ("replaced_by_chain", 4), ("replaced_by_group", [0, 2])],
)
def test_what_replaces_itself_keeps_its_new_id(
    running: workers.Scene, name: str, result: object
) -> None:
    """The outcome of what comes in its place comes back, whatever that is."""
    task_id = running.send(name, 2, countdown=SOON)

    assert outcome(running, task_id) == result


def test_its_link_runs_once(running: workers.Scene, tmp_path: Path) -> None:
    """A link gets the result, and knows the new task as its parent."""
    note = running.task("note").s(str(tmp_path / "links"))
    task_id = running.send("add", 1, 2, countdown=SOON, link=note)
    outcome(running, task_id)

    (child,) = successor(running, task_id).children
    record = running.eventually(child, workers.is_finished)

    running.settle()
    assert record.parent_id == new_id_of(running, task_id)
    assert (tmp_path / "links").read_text() == "3\n"


def test_its_errback_runs_once(running: workers.Scene) -> None:
    """An errback is told of the new id, under which the task failed."""
    errback = running.task("errback_published").s()
    task_id = running.send("fail", "broken", countdown=SOON, link_error=errback)

    with pytest.raises(ValueError, match="broken"):
        outcome(running, task_id)

    running.settle()
    told = running.full.find(name="scenario.errback_published")
    new_id = new_id_of(running, task_id)
    assert [record.args for record in told if record.parent_id == new_id] == [[new_id]]


def test_a_task_that_goes_over_its_time_fails(running: workers.Scene) -> None:
    """The main process ends it and stores its failure, under both ids."""
    task_id = running.send("wait_for", "never", countdown=SOON, time_limit=0.5)

    with pytest.raises(TimeLimitExceeded):
        outcome(running, task_id)


def test_a_task_whose_process_is_lost_fails(running: workers.Scene) -> None:
    task_id = running.send("kill_child", countdown=SOON)

    with pytest.raises(Exception, match="Worker exited prematurely"):
        outcome(running, task_id)


def test_an_unknown_task_fails(running: workers.Scene) -> None:
    result = running.app.send_task("scenario.unknown", countdown=SOON)

    with pytest.raises(Exception, match=r"scenario\.unknown"):
        outcome(running, str(result.id))


def test_what_a_task_stored_before_it_is_ignored_comes_back(running: workers.Scene) -> None:
    task_id = running.send("store_and_ignore", countdown=SOON)

    result = outcome(running, task_id)

    assert result == "stored"


def test_a_result_comes_back_though_a_hook_failed(running: workers.Scene) -> None:
    """What was stored before Celery failed around the task is stored under both ids."""
    task_id = running.send("with_hooks", "on_success", countdown=SOON)

    assert outcome(running, task_id) == "on_success"


def test_a_failure_comes_back_though_a_hook_failed(running: workers.Scene) -> None:
    task_id = running.send("with_hooks", "on_failure", countdown=SOON)

    # Up to Celery 5.4 the hook's own error replaces it, a moment later.
    with pytest.raises((ValueError, RuntimeError), match=r"the body failed|on_failure raised"):
        outcome(running, task_id)


def test_a_result_that_is_not_wanted_is_not_stored(running: workers.Scene) -> None:
    ignored = running.send("add", 1, 2, countdown=SOON, ignore_result=True)
    successor(running, ignored)
    running.settle()

    assert result_of(running, ignored).state == "PENDING"


def test_cancelled_before_it_is_due(running: workers.Scene) -> None:
    """It is REVOKED for who waits for it, without any worker."""
    task_id = running.send("add", 1, 2, countdown=LATER)

    cancelled = running.full.cancel(task_id)

    with pytest.raises(TaskRevokedError):
        outcome(running, task_id)
    assert cancelled
    running.eventually(task_id, workers.has_state("REVOKED"))


def test_revoked_before_it_is_due(running: workers.Scene) -> None:
    task_id = running.send("add", 1, 2, countdown=LATER)

    result_of(running, task_id).revoke()

    with pytest.raises(TaskRevokedError):
        outcome(running, task_id)
    running.eventually(task_id, workers.has_state("REVOKED"))


def test_revoked_while_it_waits_behind_another(
    redis_server: str, storage_url: str, tmp_path: Path
) -> None:
    """Revoking the first id revokes the task that goes on for it."""
    with (
        scene("redis", redis_server, storage_url, tmp_path) as running,
        running.worker(concurrency=1),
    ):
        go = tmp_path / "go"
        first = running.app.send_task("scenario.wait_for", [str(go)])
        task_id = running.send("add", 1, 2, countdown=SOON)
        new_id = new_id_of(running, task_id)
        running.workers[0].wait_for_log(new_id)

        running.app.control.revoke(task_id)
        running.workers[0].wait_for_log("flagged as revoked")
        go.touch()

        with pytest.raises(TaskRevokedError):
            outcome(running, task_id)
        assert outcome(running, first.id) == "done"
        running.eventually(new_id, workers.has_state("REVOKED"))


def test_terminated_while_it_runs(running: workers.Scene) -> None:
    task_id = running.send("wait_for", "never", countdown=SOON)
    successor(running, task_id, "STARTED")

    running.app.control.revoke(task_id, terminate=True)

    with pytest.raises(TaskRevokedError):
        outcome(running, task_id)


def test_revoked_before_its_retry_is_due(running: workers.Scene) -> None:
    """The retry waits in the storage under the new id; the first one is enough to stop it."""
    task_id = running.send("retry_later", LATER, countdown=SOON)
    second = new_id_of(running, task_id)
    running.eventually(second, workers.has_state("SCHEDULED", 1))
    assert workers.until(lambda: result_of(running, second).state == "RETRY")

    running.app.control.revoke(task_id)

    running.eventually(second, workers.has_state("REVOKED"))
    with pytest.raises(TaskRevokedError):
        outcome(running, second)
    with pytest.raises(TaskRevokedError):
        outcome(running, task_id)


def test_expired_when_it_is_due(running: workers.Scene) -> None:
    """It is not sent, and REVOKED for who waits for it."""
    now = datetime.now(timezone.utc)
    eta, expires = now + timedelta(seconds=0.5), now + timedelta(seconds=0.1)
    task_id = running.send("add", 1, 2, eta=eta, expires=expires)

    with pytest.raises(TaskRevokedError, match="expired"):
        outcome(running, task_id)

    record = running.eventually(task_id, workers.has_state("REVOKED"))
    assert record.exception_message == "expired"


def test_expired_after_it_was_sent(redis_server: str, storage_url: str, tmp_path: Path) -> None:
    """A worker that gets it too late ends it, under both ids."""
    with (
        scene("redis", redis_server, storage_url, tmp_path) as running,
        running.worker(concurrency=1),
    ):
        go = tmp_path / "go"
        running.app.send_task("scenario.wait_for", [str(go)])
        expires = datetime.now(timezone.utc) + timedelta(seconds=1.5)
        task_id = running.send("add", 1, 2, countdown=SOON, expires=expires)
        new_id = new_id_of(running, task_id)

        workers.until(lambda: datetime.now(timezone.utc) > expires)
        go.touch()

        with pytest.raises(TaskRevokedError, match="expired"):
            outcome(running, task_id)
        running.eventually(new_id, workers.has_state("REVOKED"))


def test_members_of_a_group_keep_their_id(running: workers.Scene) -> None:
    adding = running.task("add")

    members = group(adding.s(n, 1).set(countdown=SOON) for n in range(2)).apply_async()

    assert members.get(timeout=workers.PATIENCE) == [1, 2]
    assert_kept(running, *(member.id for member in members.results))


def test_the_tasks_of_a_chord_keep_their_id(running: workers.Scene) -> None:
    adding, body = running.task("add"), running.task("tsum").s().set(countdown=SOON)

    result = chord([adding.s(n, 1).set(countdown=SOON) for n in range(2)], body).apply_async()

    assert result.get(timeout=workers.PATIENCE) == 3
    assert_kept(running, result.id, *(member.id for member in result.parent.results))


def test_the_tasks_of_a_chain_keep_their_id(running: workers.Scene) -> None:
    """The last one too, after which nothing comes."""
    adding = running.task("add")
    steps = [adding.s(1, 1), adding.s(2), adding.s(3)]

    result = chain(*(step.set(countdown=SOON) for step in steps)).apply_async()

    assert result.get(timeout=workers.PATIENCE) == 7
    assert_kept(running, result.id, result.parent.id, result.parent.parent.id)


def assert_kept(scene: workers.Scene, *task_ids: str) -> None:
    for task_id in task_ids:
        record = scene.eventually(task_id, workers.is_finished)
        assert record.state == "SUCCESS", workers.describe(record)


def test_a_member_of_a_chord_that_is_cancelled_fails_its_chord(running: workers.Scene) -> None:
    """As it would if a worker had revoked it: nobody waits for ever."""
    adding, body = running.task("add"), running.task("tsum").s()
    members = [adding.s(1, 1), adding.s(2, 2).set(countdown=LATER)]
    result = chord(members, body).apply_async()
    waiting = result.parent.results[1].id

    running.full.cancel(waiting)

    with pytest.raises(Exception, match=r"revoked|REVOKED|Dependency"):
        result.get(timeout=workers.PATIENCE)


def test_headers_that_are_copied_do_not_copy_the_outcome(running: workers.Scene) -> None:
    """A task that hands its headers on speaks for itself only."""
    task_id = running.send("hand_headers_on", countdown=SOON)

    result = outcome(running, task_id)

    child = running.eventually(result, workers.is_finished)
    running.settle()
    assert child.result == 3
    assert outcome(running, task_id) == result


def test_a_task_sent_again_speaks_for_itself(running: workers.Scene) -> None:
    task_id = running.send("add_times", 2, countdown=SOON)
    new_id = successor(running, task_id).task_id

    again = running.full.resend(new_id)

    assert again.get(timeout=workers.PATIENCE) == 4
    assert again.id not in (task_id, new_id)


def test_a_result_backend_that_is_away_does_not_keep_a_task_from_being_cancelled(
    without_worker: workers.Scene, caplog: pytest.LogCaptureFixture
) -> None:
    running = without_worker
    task_id = running.send("add", 1, 2, countdown=LATER)
    port = servers.free_port()
    running.app.conf.result_backend = f"redis://127.0.0.1:{port}/0"
    running.app.conf.redis_retry_on_timeout = False
    running.app.conf.result_backend_transport_options = {"retry_policy": {"max_retries": 0}}
    del running.app._local.backend

    began = time.monotonic()
    cancelled = running.full.cancel(task_id)

    assert cancelled
    assert time.monotonic() - began < workers.PATIENCE
    assert f"the result backend does not know that task {task_id} is revoked" in caplog.text
