"""The campaigns with many publishers and one server: few connections, and locked tables.

FULLRESULT_TEST_PUBLISHERS and FULLRESULT_TEST_SECONDS change their size.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from celery import Celery
from pymongo import MongoClient

from fullresult import FullResult
from tests.kit import servers
from tests.kit.scripts import ROOT
from tests.kit.workers import until

PUBLISHER = """
import json, sys, time
from celery import Celery
from fullresult import FullResult

name, url, spool, seconds = sys.argv[1:]
app = Celery("crowd", broker="memory://", set_as_current=False)
app.conf.update(
    fullresult_storage=url + name,
    fullresult_spool_directory=spool,
    fullresult_storage_timeout=5,
    fullresult_auto_setup=False,
)
full = FullResult(app)
app.send_task("shop.warm", task_id=f"{name}-warm")
print("ready", flush=True)
sys.stdin.readline()
slowest, count, end = 0.0, 0, time.monotonic() + float(seconds)
while time.monotonic() < end:
    began = time.monotonic()
    app.send_task("shop.pay", task_id=f"{name}-{count}")
    slowest, count = max(slowest, time.monotonic() - began), count + 1
    time.sleep(0.2)
print(json.dumps([slowest, count + 1]), flush=True)
sys.stdin.readline()  # it lives on, idle
"""


class Publisher:
    def __init__(self, name: str, url: str, directory: Path, seconds: float) -> None:
        spool = str(directory / "spool")
        named = f"{url}&appName=" if "?" in url else f"{url}?application_name="
        self._process = subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, name, named, spool, str(seconds)],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def publishers(number: int, url: str, directory: Path, seconds: float) -> Iterator[list[Publisher]]:
    """So many processes that publish for so many seconds when they are told to."""
    started: list[Publisher] = []
    try:
        for _ in range(number):
            started.append(Publisher(f"p{len(started)}", url, directory, seconds))
        yield started
    finally:
        for each in started:
            each.kill()


def told(publishers: list[Publisher]) -> tuple[float, int]:
    """The seconds of the slowest publish of all, and the number of publishes."""
    found = [json.loads(each.read()) for each in publishers]
    return max(slowest for slowest, _ in found), sum(count for _, count in found)


@contextmanager
def database(connections: int) -> Iterator[str]:
    if os.environ.get("FULLRESULT_TEST_POSTGRESQL_URL"):
        pytest.skip("the connections of a server that is not ours")
    with (
        servers.postgresql(connections=connections) as server,
        servers.postgresql_database(server) as url,
    ):
        yield url


@contextmanager
def full_of(url: str, directory: Path) -> Iterator[FullResult]:
    app = Celery("crowd", broker="memory://", set_as_current=False)
    app.conf.update(
        fullresult_storage=url, fullresult_spool_directory=str(directory / "other-spool")
    )
    full = FullResult(app)
    full.setup()
    yield full
    full.close()


@contextmanager
def again_and_again(do: Callable[[], None], pause: float) -> Iterator[None]:
    """*do* in a thread, until the block ends."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(pause):
            do()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize(
    ("connections", "number", "seconds"),
    [
        pytest.param(10, 10, 4, marks=pytest.mark.slow),
        pytest.param(60, 100, 20, marks=pytest.mark.campaign),
    ],
)
def test_more_publishers_than_connections(
    tmp_path: Path, connections: int, number: int, seconds: int
) -> None:
    """Others connect all the time, and all is written while the publishers live on, idle."""
    number = int(os.environ.get("FULLRESULT_TEST_PUBLISHERS", number))
    refused: list[str] = []
    asked = count()

    def connect_as_another(url: str) -> None:
        next(asked)
        try:
            # A tenth is spared: more than the three that are the superuser's, as we are here.
            with psycopg.connect(url) as session:
                session.execute("SELECT 1")
        except psycopg.OperationalError as error:
            refused.append(str(error))

    with (
        database(connections) as url,
        full_of(url, tmp_path) as full,
        publishers(number, url, tmp_path, seconds) as crowd,
    ):
        for each in crowd:
            assert each.read() == "ready\n"
        with again_and_again(lambda: connect_as_another(url), 0.3):
            for each in crowd:
                each.go()
            slowest, published = told(crowd)
            written = until(lambda: full.count() >= published, 120)
        found = full.count()

    print(f"slowest publish {slowest:.2f} s, {published} published, {found} written")  # noqa: T201
    print(f"{len(refused)} of {next(asked)} connections of another refused")  # noqa: T201
    assert written, f"{found} of {published}"
    assert not refused


@pytest.mark.parametrize(
    ("number", "seconds"), [(2, 8), pytest.param(40, 60, marks=pytest.mark.campaign)]
)
def test_locked_tables_take_one_connection_of_each_process(
    tmp_path: Path, number: int, seconds: int
) -> None:
    """However long they are locked: whoever gives up leaves no statement running."""
    seconds = int(os.environ.get("FULLRESULT_TEST_SECONDS", seconds))
    most: Counter[str] = Counter()

    with (
        database(100) as url,
        full_of(url, tmp_path) as full,
        publishers(number, url, tmp_path, seconds) as crowd,
    ):
        for each in crowd:
            assert each.read() == "ready\n"

        def look() -> None:
            with psycopg.connect(url) as session:
                rows = session.execute(
                    "SELECT application_name, count(*) FROM pg_stat_activity "
                    "WHERE application_name ~ '^p[0-9]+' GROUP BY 1"
                ).fetchall()
            for name, count in rows:
                most[name] = max(most[name], count)

        with psycopg.connect(url) as session, again_and_again(look, 0.2):
            session.execute("LOCK TABLE fullresult_task")
            for each in crowd:
                each.go()
            slowest, published = told(crowd)
            session.rollback()
        written = until(lambda: full.count() >= published, 60)

    print(f"slowest publish {slowest:.2f} s, {published} published, {most}")  # noqa: T201
    assert written
    assert most
    assert max(most.values()) == 1


@pytest.mark.campaign
def test_a_locked_server_has_one_command_of_each_process(tmp_path: Path) -> None:
    """MongoDB, as for a backup. Whoever gives up leaves no command running."""
    if os.environ.get("FULLRESULT_TEST_MONGODB_URL"):
        pytest.skip("a server that is not ours is not locked")
    number = int(os.environ.get("FULLRESULT_TEST_PUBLISHERS", "40"))
    seconds = int(os.environ.get("FULLRESULT_TEST_SECONDS", "60"))
    most: Counter[str] = Counter()
    oldest = 0.0

    with (
        servers.mongodb() as server,
        servers.mongodb_database(server) as url,
        full_of(url, tmp_path) as full,
        publishers(number, url, tmp_path, seconds) as crowd,
        MongoClient[dict[str, Any]](url) as client,
    ):
        for each in crowd:
            assert each.read() == "ready\n"

        def look() -> None:
            nonlocal oldest
            found = client.admin.command("currentOp")["inprog"]
            ours = [each for each in found if each.get("ns", "").endswith(".fullresult_task")]
            for name, count in Counter(each.get("appName", "") for each in ours).items():
                most[name] = max(most[name], count)
            waited = [each.get("microsecs_running", 0) / 1_000_000 for each in ours]
            oldest = max(oldest, *waited, 0)

        client.admin.command("fsync", lock=True)
        try:
            with again_and_again(look, 0.2):
                for each in crowd:
                    each.go()
                slowest, published = told(crowd)
        finally:
            client.admin.command("fsyncUnlock")
        written = until(lambda: full.count() >= published, 60)

    print(f"slowest publish {slowest:.2f} s, {published} published, oldest {oldest:.1f} s, {most}")  # noqa: T201
    assert written
    assert most
    assert max(most.values()) == 1
    assert oldest < 15  # its time limit is 4.5 s, on a machine that is idle
