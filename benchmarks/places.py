"""Where scheduled tasks are kept and sent: empty storages and brokers, apps and workers on them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from celery import Celery

from fullresult import FullResult
from tests.kit import servers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack

_ROOT = Path(__file__).resolve().parent.parent
_STARTS = 60


class Places:
    """Lends empty databases and brokers; a server is started when it is first asked for."""

    def __init__(self, running: ExitStack) -> None:
        self._running = running
        self._started: dict[str, object] = {}

    @contextmanager
    def storage(self, kind: str) -> Iterator[str]:
        """The URL of an empty storage, durable as in production."""
        if kind == "postgresql":
            if kind not in self._started:
                server = self._running.enter_context(servers.postgresql(durable=True))
                self._started[kind] = server
            with servers.postgresql_database(str(self._started[kind])) as url:
                yield url
        elif kind == "mongodb":
            if kind not in self._started:
                self._started[kind] = self._running.enter_context(servers.mongodb())
            with servers.mongodb_database(str(self._started[kind])) as url:
                yield url
        else:
            with TemporaryDirectory() as directory:
                yield f"sqlite:///{directory}/tasks.db"

    @contextmanager
    def broker(self, kind: str) -> Iterator[str]:
        """The URL of an empty broker."""
        if kind == "rabbitmq":
            if kind not in self._started:
                self._started[kind] = self._running.enter_context(servers.rabbitmq())
            server = self._started[kind]
            assert isinstance(server, servers.RabbitMQ)
            with servers.rabbitmq_vhost(server) as url:
                yield url
        else:
            if "redis" not in self._started:
                self._started["redis"] = self._running.enter_context(servers.redis())
            with servers.redis_database(str(self._started["redis"])) as url:
                yield url


def make_app(broker: str, storage: str | None, sweeper: str = "off") -> Celery:
    """An app whose tasks with an ETA wait in *storage*, or, without one, plain Celery's."""
    app = Celery("benchmark", broker=broker, set_as_current=False)
    app.conf.task_default_queue = "benchmark"
    app.conf.broker_connection_retry_on_startup = True
    if storage is not None:
        app.conf.fullresult_storage = storage
        app.conf.fullresult_schedule_eta = True
        app.conf.fullresult_sweeper = sweeper
        FullResult(app).setup()
    return app


@contextmanager
def process(module: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """`python -m` *module* and its arguments, until the end of the block."""
    with (
        TemporaryDirectory() as directory,
        Path(directory, "log").open("w") as log,
        subprocess.Popen(
            [sys.executable, "-m", *module.split()],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(_ROOT), **environment},
            stdout=log,
            stderr=log,
            text=True,
        ) as running,
    ):
        try:
            yield running
        finally:
            running.terminate()
            try:
                running.wait(_STARTS)
            except subprocess.TimeoutExpired:
                running.send_signal(signal.SIGKILL)


@contextmanager
def worker(
    broker: str, storage: str | None, report: str, app: str = "benchmarks.eta_app"
) -> Iterator[int]:
    """A prefork worker of *app* that has run its task `tell`; its pid."""
    environment = {"BENCHMARK_BROKER": broker, "BENCHMARK_REPORT": report}
    if storage is not None:
        environment["BENCHMARK_STORE"] = storage
    command = (
        f"celery -A {app} worker -P prefork -c 1"
        " --without-gossip --without-mingle --without-heartbeat"
    )
    with process(command, **environment) as running:
        make_app(broker, None).send_task("tell", ["ready"])
        wait_for(report, "ready")
        yield running.pid


def wait_for(report: str, word: str, seconds: float = _STARTS) -> float:
    """The time at which a task told *word* to the file *report*. Raises `TimeoutError`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for line in Path(report).read_text().splitlines() if Path(report).exists() else ():
            told, _, at = line.partition(" ")
            if told == word and at:
                return float(at)
        time.sleep(0.02)
    raise TimeoutError(f"no task told {word!r} within {seconds:g} s")
