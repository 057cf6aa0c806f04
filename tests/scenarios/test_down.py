"""What becomes of tasks and records when the broker, or the storage, is not there."""

from __future__ import annotations

import logging
import re
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import kombu.exceptions
import pytest
from celery import Celery

from fullresult import FullResult
from tests.kit import servers, workers

MESSAGES = 30
ONE_LINE = "no answer from the storage; events are kept in"


def make(broker: str, storage: str, **settings: object) -> FullResult:
    app = Celery("down", broker=broker, set_as_current=False)
    # Without retries of the publish, kombu still tries to connect for six seconds.
    quick = {"max_retries": 1, "interval_start": 0, "interval_step": 0}
    ours = {"broker_transport_options": quick, "fullresult_storage": storage}
    app.conf.update({**ours, "fullresult_storage_timeout": 1, **settings})
    return FullResult(app)


@pytest.fixture(params=["redis", "amqp"])
def closed_broker(request: pytest.FixtureRequest) -> str:
    """The URL of a port where nobody listens."""
    return f"{request.param}://{servers.HOST}:{servers.free_port()}/"


@pytest.mark.parametrize("retry", [True, False])
def test_a_task_that_the_broker_did_not_take_is_unsent(
    closed_broker: str, storage_url: str, retry: bool
) -> None:
    """Whole, with the error that its publisher got: `resend` can put it right."""
    full = make(closed_broker, storage_url)

    with pytest.raises(kombu.exceptions.OperationalError) as raised, full.app:
        full.app.send_task("shop.pay", args=[7], task_id="one", retry=retry, ignore_result=True)

    record = full.get("one")
    full.close()
    assert record is not None
    assert (record.state, record.name, record.args) == ("UNSENT", "shop.pay", [7])
    assert record.exception_type == "kombu.exceptions.OperationalError"
    assert record.exception_message == str(raised.value)
    assert record.date_published is not None
    assert record.date_done is None
    assert record.executions == ()


def test_an_unsent_task_is_stale_in_time(closed_broker: str, storage_url: str) -> None:
    """It is not finished: somebody has to do something."""
    full = make(closed_broker, storage_url, fullresult_stale_after=0.001)

    with pytest.raises(kombu.exceptions.OperationalError), full.app:
        full.app.send_task("shop.pay", task_id="one", retry=False)

    assert workers.until(lambda: [r.task_id for r in full.get_stale_tasks()] == ["one"])
    full.close()


def test_an_unsent_task_is_sent_again_once_the_broker_is_there(
    closed_broker: str, redis_url: str, storage_url: str
) -> None:
    down, up = make(closed_broker, storage_url), make(redis_url, storage_url)
    with pytest.raises(kombu.exceptions.OperationalError), down.app:
        down.app.send_task("shop.pay", args=[7], task_id="one", retry=False)

    with up.app:
        sent = up.resend("one")

    record = up.get(sent.id)
    down.close()
    up.close()
    assert record is not None
    assert (record.state, record.retry_of, record.args) == ("PENDING", "one", [7])


def test_a_broker_that_comes_back_while_celery_retries_leaves_no_trace(
    storage_url: str, tmp_path: Path
) -> None:
    """Celery's own publish retries are one publish: recorded once, and sent."""
    port = servers.free_port()
    full = make(f"redis://{servers.HOST}:{port}/0", storage_url, broker_transport_options={})
    policy = {"max_retries": 60, "interval_start": 0.1, "interval_step": 0, "interval_max": 0.1}

    with full.app, starting_in(0.5, port, tmp_path):
        full.app.send_task("shop.pay", task_id="one", retry_policy=policy, ignore_result=True)

    record = full.get("one")
    full.close()
    assert record is not None
    assert (record.state, record.exception_type) == ("PENDING", None)


@contextmanager
def starting_in(seconds: float, port: int, directory: Path) -> Iterator[None]:
    """A Valkey server that is not there at first."""
    started: list[subprocess.Popen[bytes]] = []
    words = ["--port", str(port), "--bind", servers.HOST, "--save", "", "--dir", str(directory)]
    command = servers._launch([servers._valkey_program(), *words], "")

    def start() -> None:
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))

    timer = threading.Timer(seconds, start)
    timer.start()
    try:
        yield
    finally:
        timer.join()
        started[0].kill()
        started[0].wait()


def test_arguments_that_cannot_be_serialised_are_an_unsent_task(storage_url: str) -> None:
    """The publisher gets its error, and the record says why."""
    full = make("memory://", storage_url)

    with pytest.raises(kombu.exceptions.EncodeError), full.app:
        full.app.send_task("shop.pay", args=[object()], task_id="one")

    record = full.get("one")
    full.close()
    assert record is not None
    assert record.state == "UNSENT"
    assert record.exception_type == "kombu.exceptions.EncodeError"
    assert "args" in record.notes
    assert record.args is None


# --- The storage


@pytest.fixture(params=workers.DEAD_STORAGES)
def dead_storage(request: pytest.FixtureRequest) -> Iterator[str]:
    with workers.dead_storage(request.param, request) as url:
        yield url


def test_publishing_goes_on_without_the_storage(
    dead_storage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Every task goes out, and its event is kept; only the first waits; one line is logged."""
    full, queue = make("memory://", dead_storage), f"queue-{uuid.uuid4()}"
    began = time.monotonic()

    with caplog.at_level(logging.INFO), full.app:
        for number in range(MESSAGES):
            full.app.send_task("shop.pay", task_id=str(number), queue=queue)
        with full.app.connection_for_read() as connection:
            waiting = connection.SimpleQueue(queue).qsize()

    assert time.monotonic() - began < 6
    status = full.spool_status()
    full.close()
    assert waiting == MESSAGES
    assert status is not None
    assert status.events >= MESSAGES  # one that fails alone lets others go first
    (line,) = (line for line in caplog.records if line.name.startswith("fullresult"))
    assert ONE_LINE in line.getMessage()
    assert "secret" not in line.getMessage()


def test_running_goes_on_without_the_storage(
    dead_storage: str, redis_url: str, tmp_path: Path
) -> None:
    """A real worker: every task runs in a bounded time, and its process logs one line."""
    settings = {"fullresult_storage": dead_storage, "fullresult_storage_timeout": 1}

    with (
        workers.scene(redis_url, f"sqlite:///{tmp_path}/unused.db", tmp_path) as scene,
        scene.worker(settings=settings) as worker,
        Celery("publisher", broker=redis_url, set_as_current=False) as app,
    ):
        began = time.monotonic()
        for number in range(MESSAGES):
            app.send_task("scenario.add", (number, 1))
        ran = workers.until(lambda: worker.read_log().count("] succeeded in ") == MESSAGES)
        took = time.monotonic() - began
        log = worker.read_log()

    assert ran
    assert took < 10
    # Once in each process: the main one hears of it by its heartbeat.
    tell = re.findall(r"WARNING/(\w+)[^\]]*\] fullresult: .*events are kept in", log)
    assert "ForkPoolWorker" in tell
    assert len(tell) == len(set(tell))
    assert "secret" not in log
