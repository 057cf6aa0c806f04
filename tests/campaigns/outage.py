"""The campaign against the spool: whatever ails the storage, no task fails, waits or is lost.

    python -m tests.campaigns.outage --storage postgresql --seconds 30 --write direct
    python -m tests.campaigns.outage --trouble frozen --trouble full

Tasks are published to a real worker at a steady rate while the storage is away in one way after
the other. Then: every task ran, once the breaker was open nobody waited, and soon after the
recovery every record is complete.

Long because each trouble, each store and what is then true of both is one campaign.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psycopg
import pymongo
from kombu.exceptions import OperationalError
from psycopg import sql

from fullresult import FullResult, TaskRecord
from tests.kit import servers, sweeping, workers
from tests.kit.proxy import Delay, Proxy, no_fault, proxy

TIMEOUT = 2.0
"""`fullresult_storage_timeout`: how long the first call of each process may wait."""
_SETTLED = TIMEOUT * 2 + 1
"""Seconds after which the breaker of every process is open."""
_ANY = frozenset({"frozen", "killed", "cut", "locked", "delayed", "refused"})
TROUBLES: dict[str, frozenset[str]] = {
    "postgresql": _ANY | {"full", "read-only"},
    "mongodb": _ANY,
    "sqlite": frozenset({"locked"}),
}
BROKER = "broker"
"""The one trouble that is the broker's."""


class Store(NamedTuple):
    """A storage that can be in trouble."""

    url: str
    """For the app and its worker: through the proxy, where there is one."""
    direct: str
    between: Proxy | None
    in_trouble: Callable[[str], contextlib.AbstractContextManager[None]]


@dataclass
class Told:
    """What came of one trouble."""

    trouble: str
    published: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    """By task id, the errors that the broker's outage gave to the publisher."""
    publishes: list[tuple[float, float]] = field(default_factory=list)
    """When each publish began, and the seconds it took."""
    runs: list[tuple[float, float]] = field(default_factory=list)
    """When each task was published, and the seconds until it ran."""
    recovery: float = 0.0
    """Seconds from the end of the trouble until every record was complete."""
    calm: float = 0.0
    began: float = 0.0
    ended: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.trouble}: {self.published} published, {len(self.refused)} refused; publish p99 "
            f"{_ms(self.p99(self.publishes))} (calm {_ms(self.p99(self.publishes, calm=True))}), "
            f"run p99 {_ms(self.p99(self.runs))} (calm {_ms(self.p99(self.runs, calm=True))}), "
            f"longest publish {_ms(max(took for _, took in self.publishes))}; complete "
            f"{self.recovery:.1f} s after the recovery"
        )

    def p99(self, what: list[tuple[float, float]], *, calm: bool = False) -> float:
        """Of what began before the trouble, or while every breaker was open."""
        first, last = (self.calm, self.began) if calm else (self.began + _SETTLED, self.ended)
        found = sorted(took for at, took in what if first <= at < last)
        return found[int(len(found) * 0.99)] if found else 0.0

    @property
    def added(self) -> float:
        """Seconds added to the 99th percentile of publishes and runs, whichever is more."""
        return max(
            self.p99(what) - self.p99(what, calm=True) for what in (self.publishes, self.runs)
        )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


class Campaign:
    """One storage, one broker, one worker."""

    def __init__(self, store: Store, broker: Broker, scene: workers.Scene, rate: float) -> None:
        self._store = store
        self._broker = broker
        self._scene = scene
        self._rate = rate
        self._sent: dict[str, float] = {}
        self._stop = threading.Event()
        self._told = Told("")
        (scene.directory / "told").mkdir()
        self._look = make_full(store.direct, scene.settings)

    def round(self, trouble: str, seconds: float, calm: float = 3.0) -> Told:
        """One trouble of so many *seconds*, and what came of it. Raises `AssertionError`."""
        self._told = told = Told(trouble, calm=time.time())
        self._sent, self._stop = {}, threading.Event()
        publisher = threading.Thread(target=self._publish, daemon=True)
        publisher.start()
        time.sleep(calm)
        told.began = time.time()
        outage = self._broker.away if trouble == BROKER else self._store.in_trouble
        with outage(trouble):
            time.sleep(seconds)
            told.ended = time.time()
        over = time.monotonic()
        time.sleep(0.5)
        self._stop.set()
        publisher.join()
        self._check(over)
        told.runs = self._runs()
        return told

    def _publish(self) -> None:
        task, told = self._scene.task("tell_lateness"), self._told
        due = time.monotonic()
        while not self._stop.is_set():
            task_id, began = str(len(self._sent) + 1) + f"-{told.trouble}-{told.calm}", time.time()
            arguments = (began, str(self._scene.directory / "told"))
            try:
                task.apply_async(arguments, task_id=task_id, retry=False)
            except OperationalError as error:
                told.refused[task_id] = str(error)
            told.publishes.append((began, time.time() - began))
            self._sent[task_id] = began
            due = max(due + 1 / self._rate, time.monotonic() - 1)
            time.sleep(max(due - time.monotonic(), 0))
        told.published = len(self._sent)

    def _check(self, over: float) -> None:
        wanted = set(self._sent)

        def are_complete() -> bool:
            return not self._incomplete(wanted)

        done = workers.until(are_complete, 60)
        self._told.recovery = time.monotonic() - over
        assert done, f"{self._told.trouble}: not complete: {self._incomplete(wanted)}"
        log = "\n".join(worker.read_log() for worker in self._scene.workers)
        assert " raised " not in log, log[-4000:]

    def _incomplete(self, wanted: set[str]) -> dict[str, str]:
        """Of which tasks something is missing; asked for in pages, those that are left."""
        for task_id in list(wanted):
            record = self._look.get(task_id)
            missing = self._missing(task_id, record)
            if missing:
                return {task_id: missing}
            wanted.discard(task_id)
        return {}

    def _missing(self, task_id: str, record: TaskRecord | None) -> str:
        if record is None:
            return "no record"
        error = self._told.refused.get(task_id)
        if error is not None:
            wrong = record.state == "UNSENT" and record.exception_message == error
            # The broker may have it all the same, if only its answer was lost.
            return "" if wrong or record.state == "SUCCESS" else workers.describe(record)
        if self._told.trouble == BROKER:
            return ""  # what it had and lost, or keeps from a worker it lost, is the broker's
        message = record.message
        whole = (
            record.state == "SUCCESS"
            and isinstance(record.result, float)
            and record.args == [self._sent[task_id], str(self._scene.directory / "told")]
            and None not in (record.date_published, record.date_started, record.date_done)
            and message is not None
            and message.body is not None
            and "body" not in record.notes
        )
        return "" if whole else workers.describe(record)

    def _runs(self) -> list[tuple[float, float]]:
        lines = [
            line.split()
            for file in (self._scene.directory / "told").iterdir()
            for line in file.read_text().splitlines()
        ]
        return [(float(at), float(late)) for at, late in lines]

    def close(self) -> None:
        self._look.close()


def make_full(url: str, settings: dict[str, Any]) -> FullResult:
    """An app that sees the storage without what is in between."""
    return sweeping.make({**settings, "fullresult_storage": url, "fullresult_storage_timeout": 10})


# --- Stores


@contextmanager
def open_store(kind: str) -> Iterator[Store]:
    """A new storage of that *kind*. Raises `ServerUnavailableError`."""
    if kind == "sqlite":
        with TemporaryDirectory(prefix="fullresult-outage-") as directory:
            file = Path(directory, "records.db")
            url = f"sqlite:///{file}"
            yield Store(url, url, None, lambda _: _sqlite_locked(file))
        return
    opened = _postgresql if kind == "postgresql" else _mongodb
    with opened() as store:
        yield store


@contextmanager
def _sqlite_locked(file: Path) -> Iterator[None]:
    with closing(sqlite3.connect(file, isolation_level=None, timeout=30)) as session:
        session.execute("BEGIN EXCLUSIVE")
        yield


@contextmanager
def _postgresql() -> Iterator[Store]:
    with postgresql_node() as node, tiny_disk() as disk:
        port = urlsplit(node.url).port
        assert port is not None
        with proxy(servers.HOST, port) as between:

            def trouble(name: str) -> contextlib.AbstractContextManager[None]:
                made = {
                    "frozen": lambda: frozen(node.pids()),
                    "killed": lambda: killed(node, node.pids()),
                    "locked": lambda: _postgresql_locked(node.url),
                    "read-only": lambda: _postgresql_read_only(node.url),
                    "full": lambda: _postgresql_full(node.url, disk),
                }
                return made[name]() if name in made else _in_network(between, name)

            # Of a server that is killed, events that do not wait for its disk may be lost.
            url = node.url.replace(f":{port}/", f":{between.port}/") + "?synchronous=FULL"
            yield Store(url, node.url, between, trouble)


@dataclass
class PostgreSQLNode(sweeping.Node):
    """A server of its own that can be killed."""

    def pids(self) -> list[int]:
        with psycopg.connect(self.url) as session:
            row = session.execute("SELECT pg_backend_pid()").fetchone()
            assert row is not None
            postmaster = int(_ps("ppid=", "-p", row[0])[0])
        return [postmaster, *map(int, _ps("pid=", "--ppid", postmaster))]


def _ps(what: str, *which: object) -> list[str]:
    command = ["ps", "-o", what, *map(str, which)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()


@contextmanager
def postgresql_node() -> Iterator[PostgreSQLNode]:
    """A started PostgreSQL of its own. Raises `ServerUnavailableError`."""
    programs = servers._postgresql_programs()
    port = servers.free_port()
    url = f"postgresql://postgres@{servers.HOST}:{port}/postgres"
    with servers._directory("postgresql") as directory:
        user = servers._postgresql_user(programs, directory)
        data = directory / "data"
        how = ("--username=postgres", "--auth=trust", "--no-sync", f"--pgdata={data}")
        servers._run([programs / "initdb", *how], user=user, directory=directory)
        words = (
            *(programs / "postgres", "-D", data, "-p", str(port)),
            *("-c", f"listen_addresses={servers.HOST}", "-c", "unix_socket_directories="),
            *("-c", "max_connections=200"),
        )

        def start() -> Any:
            return servers._running(
                words,
                ready=lambda: servers._postgresql_answers(url),
                directory=directory,
                user=user,
                stop=signal.SIGQUIT,
            )

        with PostgreSQLNode(url, start) as node:
            yield node


@contextmanager
def _postgresql_locked(url: str) -> Iterator[None]:
    """The tables, as a migration does it."""
    with psycopg.connect(url) as session:
        session.execute("LOCK TABLE fullresult_task IN ACCESS EXCLUSIVE MODE")
        yield


@contextmanager
def _postgresql_read_only(url: str) -> Iterator[None]:
    """As a primary that became a standby."""
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        session.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            session.execute("SET default_transaction_read_only = off")
            session.execute("ALTER SYSTEM RESET default_transaction_read_only")
            session.execute("SELECT pg_reload_conf()")


@contextmanager
def tiny_disk() -> Iterator[Path | None]:
    """A file system of some megabytes; None where only root could make one."""
    with servers._directory("disk") as directory:
        mount = ["mount", "-t", "tmpfs", "-o", "size=64m,mode=0777", "tmpfs", str(directory)]
        made = os.geteuid() == 0 and subprocess.run(mount, check=False).returncode == 0
        try:
            yield directory if made else None
        finally:
            if made:
                subprocess.run(["umount", "-l", str(directory)], check=False)


@contextmanager
def _postgresql_full(url: str, disk: Path | None) -> Iterator[None]:
    """The disk on which the tables are has no room for one page more."""
    if disk is None:
        raise servers.ServerUnavailableError("a full disk needs root, to make a small one")
    place = disk / "tables"
    place.mkdir(exist_ok=True)
    owner = Path(_data_directory(url)).stat()
    os.chown(place, owner.st_uid, owner.st_gid)
    tables = ("fullresult_task", "fullresult_execution")
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(sql.SQL("CREATE TABLESPACE tiny LOCATION {}").format(str(place)))
        for table in tables:
            _move(session, table, "tiny")
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb") as file:
            while file.write(bytes(65536)):
                file.flush()
        try:
            yield
        finally:
            filler.unlink()
            for table in tables:
                _move(session, table, "pg_default")
            session.execute("DROP TABLESPACE tiny")


def _data_directory(url: str) -> str:
    with psycopg.connect(url) as session:
        row = session.execute("SHOW data_directory").fetchone()
        assert row is not None
        return str(row[0])


def _move(session: psycopg.Connection[Any], table: str, place: str) -> None:
    indexes = session.execute("SELECT indexname FROM pg_indexes WHERE tablename = %s", [table])
    for kind, name in [("TABLE", table), *(("INDEX", row[0]) for row in indexes.fetchall())]:
        statement = sql.SQL("ALTER {} {} SET TABLESPACE {}")
        parts = sql.SQL(kind), sql.Identifier(name), sql.Identifier(place)
        session.execute(statement.format(*parts))


@contextmanager
def _mongodb() -> Iterator[Store]:
    with sweeping.mongodb_node(replica_set=True) as node:
        port = urlsplit(node.url).port
        assert port is not None
        with proxy(servers.HOST, port) as between:

            def trouble(name: str) -> contextlib.AbstractContextManager[None]:
                made = {
                    "frozen": lambda: frozen(_of_mongodb(node.url)),
                    "killed": lambda: killed(node, _of_mongodb(node.url)),
                    "locked": lambda: _mongodb_locked(node.url),
                }
                return made[name]() if name in made else _in_network(between, name)

            url = node.url.replace(f":{port}/", f":{between.port}/") + "&w=majority&journal=true"
            yield Store(url, node.url, between, trouble)


def _of_mongodb(url: str) -> list[int]:
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        return [int(client.admin.command("serverStatus")["pid"])]


@contextmanager
def _mongodb_locked(url: str) -> Iterator[None]:
    """No writes, as while its disk is copied."""
    with pymongo.MongoClient[dict[str, Any]](url) as client:
        client.admin.command("fsync", lock=True)
        try:
            yield
        finally:
            client.admin.command("fsyncUnlock")


@contextmanager
def frozen(pids: list[int]) -> Iterator[None]:
    """The kernel still takes connections, and nobody answers."""
    try:
        _tell(pids, signal.SIGSTOP)
        yield
    finally:
        _tell(reversed(pids), signal.SIGCONT)


@contextmanager
def killed(node: sweeping.Node, pids: list[int]) -> Iterator[None]:
    """Killed, and started again in the end."""
    _tell(pids, signal.SIGKILL)
    node.stop()
    try:
        yield
    finally:
        node.start()


def _tell(pids: Any, what: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, what)


@contextmanager
def _in_network(between: Proxy, name: str) -> Iterator[None]:
    """Connections are refused, cut again and again, or slow."""
    stop = threading.Event()

    def cut() -> None:
        while not stop.wait(0.05):
            between.cut_all()

    cutting = threading.Thread(target=cut, daemon=True)
    if name == "refused":
        between.refuse()
    elif name == "cut":
        cutting.start()
    elif name == "delayed":
        between.plan = lambda _: Delay(5)
    else:
        raise ValueError(name)
    try:
        yield
    finally:
        stop.set()
        between.plan = no_fault
        between.heal()
        between.cut_all()


# --- The broker


class Broker:
    """A Valkey server that can be away."""

    def __init__(self, url: str, between: Proxy) -> None:
        self.url = url
        self._between = between

    @contextmanager
    def away(self, _: str) -> Iterator[None]:
        self._between.refuse()
        try:
            yield
        finally:
            self._between.heal()


@contextmanager
def open_broker() -> Iterator[Broker]:
    with servers.redis() as url:
        port = urlsplit(url).port
        assert port is not None
        with proxy(servers.HOST, port) as between:
            yield Broker(f"redis://{servers.HOST}:{between.port}/0", between)


# --- All together


@contextmanager
def campaign(
    storage: str, directory: Path, *, rate: float, write: str, concurrency: int = 2
) -> Iterator[Campaign]:
    """A worker of its own on a storage and a broker of its own."""
    with ExitStack() as stack:
        store = stack.enter_context(open_store(storage))
        broker = stack.enter_context(open_broker())
        settings = {
            "fullresult_write_mode": write,
            "fullresult_storage_timeout": TIMEOUT,
            "fullresult_spool_directory": str(directory / "spool"),
            "result_backend": None,
            "broker_transport_options": {"socket_timeout": 2, "socket_connect_timeout": 2},
            "worker_prefetch_multiplier": 4,
        }
        module = "tests.apps.scenario_outage_app"
        scene = stack.enter_context(
            workers.scene(broker.url, store.url, directory, module=module, **settings)
        )
        stack.enter_context(scene.worker(concurrency=concurrency))
        made = Campaign(store, broker, scene, rate)
        stack.callback(made.close)
        yield made


def main(arguments: list[str] | None = None) -> int:
    given = _arguments(arguments)
    troubles = given.trouble or [*sorted(TROUBLES[given.storage]), BROKER]
    failed = 0
    with TemporaryDirectory(prefix="fullresult-outage-") as directory:
        path = Path(directory)
        os.environ["XDG_STATE_HOME"] = directory
        how = {"rate": given.rate, "write": given.write, "concurrency": given.concurrency}
        with campaign(given.storage, path / "scene", **how) as made:
            for trouble in troubles:
                told = made.round(trouble, given.seconds)
                print(told, flush=True)  # noqa: T201
                late, slow = told.recovery > given.recovery, told.added > given.added
                if trouble != BROKER and (late or slow):
                    print("  that is too much")  # noqa: T201
                    failed += 1
    return 1 if failed else 0


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.campaigns.outage")
    parser.add_argument("--storage", choices=sorted(TROUBLES), default="postgresql")
    everything = sorted({*_ANY, *TROUBLES["postgresql"], BROKER})
    parser.add_argument("--trouble", choices=everything, action="append", help="else all")
    parser.add_argument("--seconds", type=float, default=30, help="of each trouble")
    parser.add_argument("--rate", type=float, default=200, help="tasks a second")
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--write", choices=["direct", "spooled"], default="direct")
    parser.add_argument("--recovery", type=float, default=10, help="seconds it may take")
    parser.add_argument("--added", type=float, default=0.01, help="seconds, at the 99th percentile")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        raise SystemExit(main())
