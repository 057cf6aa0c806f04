"""How many connections a process has, and who gets one when all are in use."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fullresult import plugins
from fullresult.config import Settings
from fullresult.storage import StorageError, TaskQuery
from fullresult.testing import samples
from fullresult_storage_sql.connections import Connections
from tests.kit.mongo import using
from tests.kit.scripts import run_script


class Connection:
    owner = 0
    is_worn = False

    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def survives(self, error: BaseException) -> bool:
        return isinstance(error, ValueError)


def connections(size: int, *, timeout: float = 5) -> Connections[Connection]:
    return Connections(Connection, size=size, timeout=timeout)


def test_who_finds_all_in_use_gets_the_next_that_is_given_back() -> None:
    pool = connections(1)
    taken, _ = pool.take()
    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(pool.take)
        until(lambda: bool(vars(pool)["_waiting"]))
        pool.give_back(taken)

        assert other.result(5) == (taken, True)


def test_who_finds_all_in_use_may_open_one_where_one_was_lost() -> None:
    pool = connections(1)
    taken, _ = pool.take()
    with ThreadPoolExecutor(1) as threads:
        other = threads.submit(pool.take)
        until(lambda: bool(vars(pool)["_waiting"]))
        pool.take_back(taken, OSError())

        assert other.result(5)[0] is not taken
    assert taken.closed


def test_who_waits_is_served_in_turn() -> None:
    """Also where the one that has it asks again at once."""
    pool = connections(1)
    served: list[int] = []

    def work(number: int) -> None:
        def serve(_: Connection, __: bool) -> None:
            served.append(number)
            time.sleep(0.001)

        for _ in range(20):
            pool.use(serve)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))

    assert {*served[-30:]} == {0, 1, 2, 3}


def test_who_waits_for_too_long_is_told_which_setting_bounds_it() -> None:
    pool = connections(2, timeout=0.3)
    kept = [pool.take(), pool.take()]
    began = time.monotonic()

    with pytest.raises(StorageError, match=r"0\.3 s: all 2 .*fullresult_pool_size"):
        pool.take()

    assert 0.2 < time.monotonic() - began < 2
    assert len(kept) == 2


def test_a_connection_that_is_lost_without_a_word_leaves_its_place() -> None:
    """An exception from a signal may come between two steps of ours."""
    pool = connections(1)
    pool.take()
    gc.collect()

    assert pool.take()[1] is False


def test_a_connection_that_cannot_be_opened_leaves_its_place() -> None:
    answers = iter([ConnectionRefusedError(), None])

    def connect() -> Connection:
        if (error := next(answers)) is not None:
            raise error
        return Connection()

    pool: Connections[Connection] = Connections(connect, size=1, timeout=0.3)
    with pytest.raises(ConnectionRefusedError):
        pool.take()

    assert isinstance(pool.take()[0], Connection)


def storage_at(url: str, size: int) -> Any:
    settings = Settings(storage=url, storage_timeout=timedelta(seconds=60), pool_size=size)
    return plugins.open_storage(settings)


@pytest.mark.parametrize("overlapping", [False, True])
def test_five_hundred_threads_share_a_few_connections(
    postgresql_url: str, overlapping: bool
) -> None:
    with closing(storage_at(postgresql_url, 10)) as storage, watched(postgresql_url) as sessions:
        storage.setup()
        together = threading.Barrier(500)

        def write(number: int) -> None:
            together.wait(60)
            event = samples.task(f"{number}", state="PENDING")
            if overlapping:
                storage.begin_write(event)()
            else:
                storage.write([event])

        with ThreadPoolExecutor(500) as threads:
            list(threads.map(write, range(500)))

        assert storage.count(TaskQuery()) == 500
    assert sessions.most <= 10


def test_three_hundred_greenlets_share_a_few_connections(
    postgresql_url: str, tmp_path: Path
) -> None:
    script = """
        from gevent import monkey; monkey.patch_all()
        import sys
        from datetime import timedelta
        import gevent
        from fullresult import plugins
        from fullresult.config import Settings
        from fullresult.testing import samples

        settings = Settings(storage=sys.argv[1], storage_timeout=timedelta(seconds=30))
        storage = plugins.open_storage(settings)
        storage.setup()

        def publish(greenlet):
            for number in range(10):
                storage.write([samples.task(f"{greenlet} {number}", state="PENDING")])

        gevent.joinall([gevent.spawn(publish, each) for each in range(300)], raise_error=True)
        print(len(vars(vars(vars(storage)["_database"])["_server"].connections)["_open"]))
    """
    with watched(postgresql_url) as sessions:
        opened = run_script(script, postgresql_url, directory=tmp_path)

    assert int(opened) <= 10
    assert sessions.most <= 10
    with psycopg.connect(postgresql_url) as session:
        assert session.execute("SELECT count(*) FROM fullresult_task").fetchone() == (3000,)


def test_threads_share_a_few_connections_of_pymongos(mongodb_url: str) -> None:
    patient = timedelta(seconds=30)
    with (
        using(mongodb_url, pool_size=4, storage_timeout=patient) as storage,
        ThreadPoolExecutor(40) as threads,
    ):
        storage.setup()
        list(threads.map(lambda n: storage.write([samples.task(f"{n}")]), range(200)))
        handle = vars(vars(storage)["_database"])["_clients"].handle()

        assert storage.count(TaskQuery()) == 200
        assert handle.client.options.pool_options.max_pool_size == 4


class Sessions:
    """The other sessions of a database, counted again and again."""

    def __init__(self) -> None:
        self.most = 0

    def watch(self, url: str, ended: threading.Event) -> None:
        sql = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with psycopg.connect(url, autocommit=True) as session:
            while not ended.wait(0.02):
                row = session.execute(sql).fetchone()
                assert row is not None
                self.most = max(self.most, row[0])


@contextmanager
def watched(url: str) -> Iterator[Sessions]:
    sessions, ended = Sessions(), threading.Event()
    with ThreadPoolExecutor(1) as thread:
        watching = thread.submit(sessions.watch, url, ended)
        try:
            yield sessions
        finally:
            ended.set()
        watching.result(10)
    assert sessions.most > 0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
