"""The sweeper inside real workers and under a real beat: nothing is to be set up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
from celery import Celery

from fullresult import FullResult
from fullresult.record import TaskRecord
from tests.kit import servers, workers
from tests.kit.scheduling import (
    SECOND,
    app_on,
    claimed,
    overdue,
    received,
    through_proxy,
    until,
    waiting,
)
from tests.kit.workers import Scene

MODULE = "tests.apps.scenario_app"
SETTINGS: dict[str, Any] = {
    "fullresult_schedule_eta": True,
    "fullresult_sweep_interval": 0.2,
    "fullresult_storage_timeout": 2,
}
MakeScene = Callable[..., Any]


@pytest.fixture
def scene(redis_url: str, storage_url: str, tmp_path: Path) -> MakeScene:
    """What makes a scene on Valkey that diverts."""

    def make(**settings: Any) -> Any:
        broker = settings.pop("broker", redis_url)
        storage = settings.pop("storage", storage_url)
        return workers.scene(broker, storage, tmp_path, **{**SETTINGS, **settings})

    return make


def send_later(scene: Scene, count: int = 5, seconds: float = 0.3) -> list[str]:
    return [scene.send("add", n, 1, countdown=seconds) for n in range(count)]


def succeed(scene: Scene, ids: list[str]) -> list[TaskRecord]:
    """The records once all succeeded: each was run once, and not before it was due."""
    records = [scene.eventually(task_id, workers.has_state("SUCCESS")) for task_id in ids]
    for record in records:
        assert len(record.executions) == 1, workers.describe(record)
    return records


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "solo", "threads", "gevent"])
def test_a_worker_sends_what_is_due_with_nothing_set_up(
    scene: MakeScene, pool: Literal["prefork", "solo", "threads", "gevent"]
) -> None:
    with scene() as here, here.worker(pool=pool, concurrency=2) as worker:
        ids = send_later(here)
        dues = {s.task_id: s.due for s in here.full.scheduled()}

        records = succeed(here, ids)

        assert set(dues) == set(ids)
        for record in records:
            assert record.date_started is not None
            assert record.date_started >= dues[record.task_id]
        # A task may be over before its sending is marked.
        until(lambda: here.full.count_scheduled() == 0)
        assert "Traceback" not in worker.read_log()


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "solo", "threads", "gevent"])
def test_a_warm_shutdown_ends_it_with_nothing_left_claimed(
    scene: MakeScene, pool: Literal["prefork", "solo", "threads", "gevent"]
) -> None:
    """In the middle of many that are due: each was sent and marked, or waits."""
    with scene() as here:
        ids = send_later(here, count=400, seconds=0.01)
        with here.worker(pool=pool) as worker:
            until(lambda: here.full.count(state="SCHEDULED") < len(ids))
            worker.stop()

            assert worker.process.returncode == 0
            assert "Traceback" not in worker.read_log()
        left = waiting(here.app)
        assert claimed(here.app) == []
        states = {record.task_id: record.state for record in here.full.find(limit=None)}
        assert {i for i in ids if states[i] == "SCHEDULED"} == set(left)


@pytest.mark.slow
@pytest.mark.parametrize("storage_kind", workers.storages("postgresql"), indirect=True)
def test_workers_side_by_side_send_each_task_once(scene: MakeScene) -> None:
    with (
        scene() as here,
        here.worker(pool="threads", concurrency=2),
        here.worker(pool="threads", concurrency=2),
        here.worker(pool="threads", concurrency=2),
    ):
        ids = send_later(here, count=60)

        succeed(here, ids)

        # A task may be over before its sending is marked.
        until(lambda: here.full.count_scheduled() == 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{"fullresult_schedule_eta": False}, {"fullresult_sweeper": "off"}]
)
def test_a_worker_that_does_not_divert_or_is_told_not_to_sweep_runs_no_sweeper(
    scene: MakeScene, settings: dict[str, Any]
) -> None:
    with scene() as here, here.worker(pool="solo", settings=settings):
        task_id = here.send("add", 1, 1, countdown=0.05)
        due = here.full.scheduled()[0].due
        until(lambda: here.full.storage.now() > due + SECOND)

        assert here.full.get(task_id).state == "SCHEDULED"
        assert here.full.storage.last_sweep(here.full.settings.namespace) is None


@pytest.mark.slow
def test_a_retry_with_a_countdown_waits_in_the_storage(scene: MakeScene) -> None:
    with scene() as here, here.worker():
        task_id = here.send("retry_later", 0.5)

        here.eventually(task_id, workers.has_state("SCHEDULED", 1))
        record = here.eventually(task_id, workers.has_state("SUCCESS", 1))

        assert workers.runs(record)[-1][:2] == (1, "SUCCESS")


# --- Outages


@pytest.mark.slow
@pytest.mark.parametrize("storage_kind", ["sqlite"], indirect=True)
def test_a_storage_that_was_restarted_is_survived(scene: MakeScene, postgresql_url: str) -> None:
    """All sessions end, as when the server restarts."""
    with scene(storage=postgresql_url) as here, here.worker(pool="threads") as worker:
        succeed(here, send_later(here, count=2))
        with psycopg.connect(postgresql_url, autocommit=True) as session:
            session.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

        succeed(here, send_later(here, count=5))

        assert claimed(here.app) == []
        assert worker.process.poll() is None


@pytest.mark.slow
@pytest.mark.parametrize("storage_kind", workers.storages("postgresql")[1:], indirect=True)
def test_a_storage_that_is_away_for_a_while_is_survived(scene: MakeScene, storage_url: str) -> None:
    with (
        through_proxy(storage_url) as (between, url),
        scene() as here,
        here.worker(pool="threads", settings={"fullresult_storage": url}) as worker,
    ):
        succeed(here, send_later(here, count=2))
        between.refuse()
        worker.wait_for_log("the sweeper waits")
        ids = send_later(here, count=5)
        between.heal()
        worker.wait_for_log("the sweeper goes on")

        for task_id in ids:
            # What it told while the storage was away may be lost; not that it was sent.
            here.eventually(task_id, lambda r: r.state in {"SCHEDULED_SENT", "STARTED", "SUCCESS"})

        until(lambda: here.full.count_scheduled() == 0)
        log = worker.read_log()
        assert log.count("the sweeper waits") == log.count("the sweeper goes on") == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
def test_a_broker_that_is_away_for_a_while_is_survived(
    scene: MakeScene, request: pytest.FixtureRequest, kind: str
) -> None:
    broker = request.getfixturevalue(f"{kind}_url")
    with (
        through_proxy(broker) as (between, url),
        scene(broker=broker, fullresult_namespace="shop", result_backend=None) as here,
        here.worker(pool="threads", settings={"broker_url": url}) as worker,
    ):
        succeed(here, send_later(here, count=2))
        between.refuse()
        worker.wait_for_log("the sweeper waits")
        ids = send_later(here, count=5, seconds=0.05)
        between.heal()
        worker.wait_for_log("the sweeper goes on")

        for task_id in ids:
            here.eventually(task_id, workers.has_state("SUCCESS"))
        assert here.full.count_scheduled() == 0


# --- Beat


@contextmanager
def beat(here: Scene, **settings: Any) -> Iterator[Path]:
    """A running `celery beat`; its log."""
    files = [f"--schedule={here.directory}/schedule", f"--pidfile={here.directory}/beat.pid"]
    command = [sys.executable, "-m", "celery", "-A", MODULE, "beat", "--loglevel=INFO", *files]
    log = here.directory / "beat.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            servers._launch(command, ""),
            cwd=workers.ROOT,
            env={**os.environ, workers.SETTINGS: json.dumps({**here.settings, **settings})},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield log
    finally:
        process.terminate()
        process.wait(30)


OWN = {"own": {"task": "scenario.add", "schedule": 0.5, "args": [1, 1]}}
TO_DISK_ONCE = {"beat_sync_every": 1}


@pytest.mark.slow
@pytest.mark.parametrize("own", [{}, OWN], ids=["alone", "beside the user's own entries"])
def test_beat_sends_the_sweeps_by_itself(scene: MakeScene, own: dict[str, Any]) -> None:
    with (
        scene(fullresult_sweeper="beat", beat_schedule=own) as here,
        here.worker(pool="solo") as worker,
        beat(here) as log,
    ):
        ids = send_later(here)

        succeed(here, ids)

        assert "fullresult.sweep" in log.read_text()
        if own:
            until(lambda: "own" in log.read_text())
        assert claimed(here.app) == []
        assert "Traceback" not in worker.read_log() + log.read_text()


@pytest.mark.slow
def test_beat_may_be_started_again_with_its_file(scene: MakeScene) -> None:
    """Its entry comes back, once; and is gone where beat is to sweep no more."""
    with scene(fullresult_sweeper="beat", beat_schedule=OWN, **TO_DISK_ONCE) as here:
        with here.worker(pool="solo"):
            for _ in range(2):
                with beat(here):
                    succeed(here, send_later(here, count=1))
        log = here.directory / "beat.log"
        log.unlink()
        with beat(here, fullresult_sweeper="off"):
            until(lambda: log.read_text().count("Sending due task own") > 3)

        assert "fullresult.sweep" not in log.read_text()


@pytest.mark.slow
def test_a_worker_with_a_beat_inside_sweeps(scene: MakeScene) -> None:
    with scene(fullresult_sweeper="beat", beat_schedule=OWN) as here:
        schedule = f"--schedule={here.directory}/schedule"
        with here.worker("-B", schedule, pool="prefork") as worker:
            ids = send_later(here)

            succeed(here, ids)

            assert "Traceback" not in worker.read_log()


@pytest.mark.slow
def test_an_entry_of_the_users_own_is_used_as_it_is(scene: MakeScene) -> None:
    entry = {"task": "fullresult.sweep", "schedule": 0.3, "options": {"queue": "celery"}}
    with (
        scene(
            fullresult_sweeper="beat",
            fullresult_sweep_interval=3600,
            beat_schedule={"fullresult.sweep": entry},
        ) as here,
        here.worker(pool="solo"),
        beat(here),
    ):
        succeed(here, send_later(here, count=1))


def test_the_tasks_are_registered_once_and_only_with_their_app(tmp_path: Path) -> None:
    with (
        Celery("shop", broker="memory://", set_as_current=False) as app,
        Celery("other", broker="memory://", set_as_current=False) as other,
    ):
        app.conf.fullresult_storage = f"sqlite:///{tmp_path}/records.db"
        FullResult(app)
        FullResult(app)
        app.finalize()
        other.finalize()

        names = sorted(name for name in app.tasks if name.startswith("fullresult"))
        assert names == ["fullresult.purge", "fullresult.sweep"]
        assert "fullresult.sweep" not in other.tasks
        assert app.tasks["fullresult.sweep"].ignore_result


def test_the_task_sends_what_is_due_at_most_the_limit_and_keeps_nothing_open(
    storage_url: str,
) -> None:
    with app_on({"broker_url": "memory://"}, storage_url, fullresult_sweep_limit=3) as app:
        for number in range(5):
            overdue(app, str(number))
        task = app.tasks["fullresult.sweep"]

        answers = [task() for _ in range(3)]

        assert answers == [3, 2, 0]
        assert sorted(received(app)) == ["0", "1", "2", "3", "4"]


def test_sweeps_of_the_task_warn_of_others_once_and_not_every_second(
    storage_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    memory = {"broker_url": "memory://"}
    with (
        app_on(memory, storage_url, fullresult_namespace="theirs") as theirs,
        app_on(memory, storage_url, fullresult_namespace="ours") as ours,
    ):
        overdue(theirs, "late", by=timedelta(minutes=5))

        for _ in range(3):
            ours.tasks["fullresult.sweep"]()

    assert caplog.text.count("are overdue and not sent from here") == 1


@pytest.mark.slow
def test_a_worker_killed_hard_leaves_the_rest_to_others(scene: MakeScene) -> None:
    """What it had claimed, and only that, stays for a person."""
    with scene(result_backend=None) as here:
        ids = send_later(here, count=300, seconds=0.01)
        with here.worker(pool="solo") as first:
            until(lambda: here.full.count(state="SCHEDULED") < len(ids))
            first.signal(signal.SIGKILL)
            first.process.wait(10)
        dead = set(claimed(here.app))
        with here.worker(pool="threads", concurrency=4):
            until(lambda: here.full.count_scheduled() == len(dead))

        assert set(claimed(here.app)) == dead
