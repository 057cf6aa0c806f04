"""Real Celery workers for tests, and the app that talks to them.

    with workers.scene(broker_url, storage_url) as scene, scene.worker(concurrency=2):
        task_id = scene.send("add", 1, 2)
        record = scene.eventually(task_id, workers.is_finished)

`Scene` is one app with `FullResult` in this process: `app`, `full` and
  `send(name, *args, **options)`     publish the task *name* of `tests/apps/scenario_app.py`; its id
  `revoke(id)`                       have a worker revoke it, and confirm
  `task(name)`                       that task of `app`, for signatures and the like
  `worker(*options, pool=…, concurrency=…)`   a running worker of the same app, as a context manager
  `eventually(id, predicate)`        the record, once it is as wanted; else shows it and the logs
  `final(id, state)`                 the record in *state*, and no late signal changed it
  `settle()`                         wait until a worker with one slot has told all of past tasks
`Worker` is that process: `name`, `pid`, `log`, `children()`, `wait_for_log(text)`,
  `signal(number)`, `stop()` (warm), `kill()` (SIGKILL to the group, as at the end of its block).
`runs(record)` are its executions in short, `assert_consistent(record)` holds of any that ran.
`running(kind, request)` is a scene with a worker already, on a broker and a storage of its own.
`storages("sqlite", …)` are the parameters of a fixture that lends a `storage(kind, …)`.

A module with tasks of its own: `from tests.apps.scenario_app import make_app, task`, add tasks by
`@task()`, end with `app = app_of_worker()`, and give its dotted name as `scene(…, module=…)`.

Long because what starts a worker, talks to it and tells why it failed is one thing to a test.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import pytest

from fullresult import FullResult, TaskRecord
from fullresult.record import FINISHED
from tests.kit import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from celery import Celery, Task

ROOT = Path(__file__).parents[2]
SETTINGS = "FULLRESULT_TEST_SETTINGS"
"""The environment variable that gives a worker its Celery settings, as JSON."""
PATIENCE = 30.0
"""Seconds that anything may take here."""

Pool = Literal["prefork", "solo", "threads", "gevent"]


def until(condition: Callable[[], object], timeout: float = PATIENCE) -> bool:
    """Poll *condition*; False if it does not hold within *timeout* seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def eventually(
    full: FullResult,
    task_id: str,
    predicate: Callable[[TaskRecord], object],
    timeout: float = PATIENCE,
) -> TaskRecord:
    """The record of *task_id* as soon as it satisfies *predicate*."""
    record: TaskRecord | None = None

    def satisfied() -> bool:
        nonlocal record
        record = full.get(task_id)
        return record is not None and bool(predicate(record))

    if not until(satisfied, timeout) or record is None:
        raise AssertionError(f"not as wanted after {timeout} s: {describe(record)}")
    return record


def is_finished(record: TaskRecord) -> bool:
    return record.state in FINISHED


def is_started(record: TaskRecord) -> bool:
    return record.state == "STARTED"


def has_state(state: str, retries: int | None = None) -> Callable[[TaskRecord], bool]:
    """A predicate: the record is in *state*, in the attempt *retries* if given."""
    return lambda record: record.state == state and retries in (None, record.retries)


def describe(record: TaskRecord | None) -> str:
    """A record as a failing test shows it."""
    if record is None:
        return "no record"
    lines = [f"{record.task_id} {record.name} {record.state} retries={record.retries}"]
    lines += [f"  {record.exception_type}: {record.exception_message}"]
    lines += [f"  {execution}" for execution in record.executions]
    return "\n".join(lines)


def runs(record: TaskRecord) -> list[tuple[int, str, str | None]]:
    """The executions in short: retries, state, exception type."""
    return [(run.retries, run.state, run.exception_type) for run in record.executions]


def assert_consistent(record: TaskRecord, worker: str | None = "w1@test") -> None:
    """The dates are there and in order, and the last execution says what the record says.

    For finished tasks that ran; every run by *worker*, unless that is None.
    """
    told = describe(record)
    last = record.executions[-1]
    assert record.date_published is not None, told
    assert record.date_started is not None, told
    assert record.date_done is not None, told
    assert record.runtime is not None, told
    assert record.date_published <= record.date_started <= record.date_done, told
    assert 0 <= record.runtime < PATIENCE, told
    assert (last.date_started, last.date_done) == (record.date_started, record.date_done), told
    assert (last.retries, last.state) == (record.retries, record.state), told
    assert last.worker == record.worker, told
    assert last.exception_type == record.exception_type, told
    assert last.exception_message == record.exception_message, told
    assert last.traceback == record.traceback, told
    for run in record.executions:
        assert run.date_started is not None, told
        assert run.date_done is None or run.date_done >= run.date_started, told
        assert worker in (None, run.worker), told
    starts = [run.date_started for run in record.executions if run.date_started]
    assert starts == sorted(starts), told


@dataclass
class Worker:
    """A running `celery worker`."""

    name: str
    """Its node name: what records say as `worker`."""
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def children(self) -> list[int]:
        """The pool's processes (Linux)."""
        files = Path(f"/proc/{self.pid}/task").glob("*/children")
        return [int(pid) for file in files for pid in file.read_text().split()]

    def wait_for_log(self, text: str, timeout: float = PATIENCE) -> None:
        if not until(lambda: text in self.read_log() or self._ended(), timeout) or self._ended():
            raise AssertionError(f"the worker did not say {text!r}: {self.read_log()[-4000:]}")

    def read_log(self) -> str:
        return self.log.read_text(errors="replace")

    def _ended(self) -> bool:
        return self.process.poll() is not None

    def signal(self, number: int) -> None:
        """Send a signal to the main process only."""
        self.process.send_signal(number)

    def stop(self, timeout: float = PATIENCE) -> None:
        """Stop it warmly: running tasks may finish."""
        self.signal(signal.SIGTERM)
        self.process.wait(timeout)

    def kill(self) -> None:
        """End it and its children at once, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)


@dataclass
class Scene:
    """An app with `FullResult`, and the workers that run its tasks."""

    app: Celery
    full: FullResult
    directory: Path
    """For logs, and for files through which tests and tasks talk."""
    settings: dict[str, Any]
    module: str
    workers: list[Worker] = field(default_factory=list)

    def task(self, name: str) -> Task:
        task: Task = self.app.tasks[f"scenario.{name}"]
        return task

    def send(self, name: str, *args: Any, **options: Any) -> str:
        """Publish a task; *options* are those of `apply_async` (`kwargs` among them)."""
        return str(self.task(name).apply_async(args, **options).id)

    def revoke(self, task_id: str, *, terminate: bool = False, **options: Any) -> None:
        """Revoke a task and wait until a worker says so; *options* are those of Celery's."""
        self.app.control.revoke(task_id, terminate=terminate, **options)
        said = f"Terminating {task_id}" if terminate else f"flagged as revoked: {task_id}"
        if not until(lambda: said in self.logs()):
            raise AssertionError(f"no worker said {said!r}\n{self.logs()}")

    def eventually(
        self,
        task_id: str,
        predicate: Callable[[TaskRecord], object],
        timeout: float = PATIENCE,
    ) -> TaskRecord:
        try:
            return eventually(self.full, task_id, predicate, timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from None

    def final(self, task_id: str, state: str, retries: int | None = None) -> TaskRecord:
        """The record once it is in *state* and no signal of its worker is still to come."""
        self.eventually(task_id, has_state(state, retries))
        self.settle()
        return self.eventually(task_id, has_state(state, retries), timeout=0)

    def settle(self) -> None:
        """Run another task: a worker with one slot has then told all it had to tell of the last.

        A pool's parent hands out a task when it has dealt with the end of the one before.
        """
        self.eventually(self.send("add", 1, 1), is_finished)

    def logs(self) -> str:
        return "\n".join(f"--- {w.name}\n{w.read_log()[-6000:]}" for w in self.workers)

    @contextmanager
    def worker(
        self,
        *options: str,
        pool: Pool = "prefork",
        concurrency: int = 1,
        settings: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
        home: Path = ROOT,
    ) -> Iterator[Worker]:
        """A worker that is ready for tasks, killed at the end of the block.

        *options* are more words of its command line, *settings* Celery settings for it alone. Its
        code is that in *home*.
        """
        number = len(self.workers) + 1
        command = [
            *(sys.executable, "-m", "celery", "-A", self.module, "worker"),
            *(f"--pool={pool}", f"--concurrency={concurrency}", f"--hostname=w{number}@test"),
            *("--loglevel=INFO", "--without-gossip", "--without-mingle", "--without-heartbeat"),
            *options,
        ]
        log = self.directory / f"worker{number}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                servers._launch(command, ""),
                cwd=home,
                env={
                    **os.environ,
                    SETTINGS: json.dumps({**self.settings, **(settings or {})}),
                    **(env or {}),
                },
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        worker = Worker(f"w{number}@test", process, log)
        self.workers.append(worker)
        try:
            worker.wait_for_log(" ready.")
            yield worker
        finally:
            worker.kill()


@contextmanager
def scene(
    broker_url: str,
    storage_url: str,
    directory: Path,
    *,
    module: str = "tests.apps.scenario_app",
    **settings: Any,
) -> Iterator[Scene]:
    """An app on *broker_url* that records in *storage_url*; *settings* are Celery's.

    The result backend is the broker where that is redis, and otherwise none.
    """
    known: dict[str, Any] = {
        "broker_url": broker_url,
        "fullresult_storage": storage_url,
        "result_backend": broker_url if broker_url.startswith("redis") else None,
        "worker_prefetch_multiplier": 1,
        "broker_connection_retry_on_startup": True,
        **settings,
    }
    directory.mkdir(parents=True, exist_ok=True)
    app = import_module(module).make_app(known)
    full = FullResult(app)
    with ExitStack() as stack:
        stack.callback(_close, app)
        stack.callback(full.close)
        full.setup()
        yield Scene(app, full, directory, known, module)


def _close(app: Celery) -> None:
    consumer = getattr(app.backend, "result_consumer", None)
    if consumer is not None:
        consumer.stop()
        # An `AsyncResult` that lives on would subscribe again, to say that it no longer waits.
        consumer._pubsub = None
    if client := app.backend.__dict__.get("client"):
        client.close()
    app.close()


@contextmanager
def running(
    kind: str,
    request: pytest.FixtureRequest,
    *,
    pool: Pool = "prefork",
    concurrency: int = 1,
    **settings: Any,
) -> Iterator[Scene]:
    """A scene with a worker, on a redis broker and a storage of *kind* of its own.

    *settings* are those of `scene`.
    """
    directory = request.getfixturevalue("tmp_path_factory").mktemp("running")
    with (
        servers.redis_database(request.getfixturevalue("redis_server")) as broker,
        storage(kind, request, directory) as url,
        scene(broker, url, directory, **settings) as running,
        running.worker(pool=pool, concurrency=concurrency),
    ):
        yield running
        gc.collect()  # Celery's results talk to their backend when they go.


STORAGES = ("sqlite", "postgresql", "mongodb", "mongodb-single")
"""What `storage` lends; the last is a server without transactions."""


def storages(*always: str, slow: tuple[str, ...] = ()) -> list[Any]:
    """The kinds of storages as parameters: in campaigns all, otherwise those named here.

    Those named as *slow* are left out of the quick runs.
    """
    marks = {kind: pytest.mark.campaign for kind in STORAGES if kind not in always}
    marks |= dict.fromkeys(slow, pytest.mark.slow)
    return [pytest.param(kind, marks=marks.get(kind, ())) for kind in STORAGES]


_DEAD = ("closed port", "silent port", "wrong password")
DEAD_STORAGES = (
    "no directory",
    *(f"{trouble} of postgresql" for trouble in _DEAD),
    *(pytest.param(f"{trouble} of mongodb", marks=pytest.mark.slow) for trouble in _DEAD),
)
"""Storages that cannot be used, in each way that takes its own time to be noticed."""


@contextmanager
def dead_storage(trouble: str, request: Any) -> Iterator[str]:
    """The URL of one of `DEAD_STORAGES`; the password in it, if any, is "secret"."""
    trouble, _, scheme = trouble.partition(" of ")
    with socket.create_server((servers.HOST, 0)) as silent:
        if trouble == "no directory":
            yield "sqlite:////no/such/directory/records.db"
        elif trouble == "closed port":
            yield f"{scheme}://u:secret@{servers.HOST}:{servers.free_port()}/d"
        elif trouble == "silent port":
            yield f"{scheme}://{servers.HOST}:{silent.getsockname()[1]}/d"
        else:
            server = urlsplit(request.getfixturevalue(f"{scheme}_server"))
            place = f"nobody:secret@{server.netloc.rpartition('@')[2]}"
            yield server._replace(netloc=place).geturl()


@contextmanager
def storage(kind: str, request: Any, directory: Path) -> Iterator[str]:
    """The URL of a new storage; *kind* is one of `STORAGES`, and *request* is pytest's."""
    if kind == "sqlite":
        directory.mkdir(parents=True, exist_ok=True)
        yield f"sqlite:///{directory / 'fullresult.db'}"
        return
    lend = servers.postgresql_database if kind == "postgresql" else servers.mongodb_database
    with lend(request.getfixturevalue(f"{kind.replace('-', '_')}_server")) as url:
        yield url
