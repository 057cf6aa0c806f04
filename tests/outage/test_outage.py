"""A storage that stops answering: tasks are published as if we were not there."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psycopg
import pymongo
import pytest
from celery import Celery

from fullresult import FullResult, StorageError
from tests.kit import servers
from tests.kit.workers import until


@contextmanager
def frozen(url: str) -> Iterator[None]:
    """The server at *url* accepts connections, as the kernel does, and answers nothing."""
    processes = _of_mongodb(url) if url.startswith("mongodb") else _of_postgresql(url)
    try:
        _tell_all(processes, signal.SIGSTOP)
        yield
    finally:
        _tell_all(reversed(processes), signal.SIGCONT)


def _tell_all(processes: Iterable[int], what: signal.Signals) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):  # a session that was just about to end
            os.kill(pid, what)


def _of_mongodb(url: str) -> list[int]:
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        return [client.admin.command("serverStatus")["pid"]]


def _of_postgresql(url: str) -> list[int]:
    with psycopg.connect(url) as session:
        row = session.execute("SELECT pg_postmaster_start_time(), pg_backend_pid()").fetchone()
        assert row is not None
        postmaster = _parent(row[1])
    return [postmaster, *_children(postmaster)]


def _parent(pid: int) -> int:
    return int(subprocess.check_output(["ps", "-o", "ppid=", "-p", str(pid)]))


def _children(pid: int) -> list[int]:
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(child) for child in found.stdout.split()]


@pytest.fixture
def own_storage(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server of its own, to be frozen."""
    kind = getattr(request, "param", "postgresql")
    if os.environ.get(f"FULLRESULT_TEST_{kind.upper()}_URL"):
        pytest.skip("would freeze a server that is not ours")
    with ExitStack() as stack:
        if kind == "postgresql":
            server = stack.enter_context(servers.postgresql())
            yield stack.enter_context(servers.postgresql_database(server))
        else:
            yield stack.enter_context(servers.mongodb())


on_each_server = pytest.mark.parametrize(
    "own_storage",
    ["postgresql", pytest.param("mongodb", marks=pytest.mark.slow)],
    indirect=True,
)


@pytest.fixture
def full(own_storage: str) -> Iterator[FullResult]:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(fullresult_storage=own_storage, fullresult_storage_timeout=2)
    full = FullResult(app)
    full.setup()
    yield full
    full.close()


def publish(full: FullResult) -> tuple[str, float]:
    """The id of a task just published, and the seconds that took."""
    began = time.monotonic()
    task_id: str = full.app.send_task("shop.pay", (1,)).id
    return task_id, time.monotonic() - began


@on_each_server
def test_a_server_that_hangs_delays_one_publish_by_the_timeout_and_the_rest_by_nothing(
    full: FullResult, own_storage: str
) -> None:
    publish(full)

    with frozen(own_storage):
        _, first = publish(full)
        rest = [publish(full)[1] for _ in range(20)]

    assert 1.5 < first < 4
    assert max(rest) < 0.5


@on_each_server
def test_what_happened_meanwhile_is_written_once_the_server_answers(
    full: FullResult, own_storage: str
) -> None:
    """Without anybody who tells of more."""
    with frozen(own_storage):
        ids = {publish(full)[0] for _ in range(20)}

    written = until(lambda: {record.task_id for record in full.find()} == ids, 10)

    assert written
    assert until(lambda: full.spool_status().segments == 0)  # type: ignore[union-attr]


@on_each_server
def test_without_a_spool_records_are_written_again_once_the_server_answers(
    own_storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fullresult.outage.breaker._LONGEST", 0.1)
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(
        fullresult_storage=own_storage,
        fullresult_storage_timeout=2,
        fullresult_spool_directory=None,
    )
    full = FullResult(app)
    full.setup()
    with frozen(own_storage):
        publish(full)
    time.sleep(0.2)  # the pause of the breaker, for which there is nothing to wait but the clock

    task_id, _ = publish(full)

    assert full.get(task_id) is not None
    full.close()


@on_each_server
def test_a_question_to_a_server_that_hangs_is_a_storage_error(
    full: FullResult, own_storage: str
) -> None:
    publish(full)

    with frozen(own_storage), pytest.raises(StorageError, match="timeout"):
        full.count()


def test_a_connection_cut_while_idle_costs_nothing(full: FullResult, own_storage: str) -> None:
    """As after a restart of the server: the event goes out on a new connection."""
    publish(full)
    with psycopg.connect(own_storage, autocommit=True) as session:
        session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    task_id, _ = publish(full)

    assert full.get(task_id) is not None
