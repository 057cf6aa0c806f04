"""A storage that stops answering: tasks are published as if we were not there."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from celery import Celery

from fullresult import FullResult, StorageError
from tests import servers


@contextmanager
def frozen(url: str) -> Iterator[None]:
    """The server at *url* accepts connections, as the kernel does, and answers nothing."""
    with psycopg.connect(url) as session:
        row = session.execute("SELECT pg_postmaster_start_time(), pg_backend_pid()").fetchone()
        assert row is not None
        postmaster = _parent(row[1])
    processes = [postmaster, *_children(postmaster)]
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(processes):
            os.kill(pid, signal.SIGCONT)


def _parent(pid: int) -> int:
    return int(subprocess.check_output(["ps", "-o", "ppid=", "-p", str(pid)]))


def _children(pid: int) -> list[int]:
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(child) for child in found.stdout.split()]


@pytest.fixture
def own_postgresql() -> Iterator[str]:
    """A server of its own, to be frozen."""
    if os.environ.get("FULLRESULT_TEST_POSTGRESQL_URL"):
        pytest.skip("would freeze a server that is not ours")
    with servers.postgresql() as server, servers.postgresql_database(server) as url:
        yield url


@pytest.fixture
def full(own_postgresql: str) -> Iterator[FullResult]:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(fullresult_storage=own_postgresql, fullresult_timeout=2)
    full = FullResult(app)
    full.setup()
    yield full
    full.close()


def publish(full: FullResult) -> tuple[str, float]:
    """The id of a task just published, and the seconds that took."""
    began = time.monotonic()
    task_id: str = full.app.send_task("shop.pay", (1,)).id
    return task_id, time.monotonic() - began


def test_a_server_that_hangs_delays_one_publish_by_the_timeout_and_the_rest_by_nothing(
    full: FullResult, own_postgresql: str
) -> None:
    publish(full)

    with frozen(own_postgresql):
        _, first = publish(full)
        rest = [publish(full)[1] for _ in range(20)]

    assert 1.5 < first < 4
    assert max(rest) < 0.5


def test_records_are_written_again_once_the_server_answers(
    full: FullResult, own_postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fullresult.breaker._LONGEST", 0.1)
    with frozen(own_postgresql):
        publish(full)
    time.sleep(0.2)  # the pause of the breaker, for which there is nothing to wait but the clock

    task_id, _ = publish(full)

    assert full.get(task_id) is not None


def test_a_question_to_a_server_that_hangs_is_a_storage_error(
    full: FullResult, own_postgresql: str
) -> None:
    publish(full)

    with frozen(own_postgresql), pytest.raises(StorageError, match="timeout"):
        full.count()


def test_a_connection_cut_while_idle_costs_nothing(full: FullResult, own_postgresql: str) -> None:
    """As after a restart of the server: the event goes out on a new connection."""
    publish(full)
    with psycopg.connect(own_postgresql, autocommit=True) as session:
        session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    task_id, _ = publish(full)

    assert full.get(task_id) is not None
