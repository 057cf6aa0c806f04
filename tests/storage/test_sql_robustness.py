"""What may befall a SQL storage in production, short of the server's being away."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from celery import Celery
from celery.exceptions import ImproperlyConfigured
from psycopg.conninfo import conninfo_to_dict

from fullresult import FullResult, StorageError
from fullresult.config import Settings
from fullresult.record import RETRY, TaskRecord
from fullresult.storage import Refused
from fullresult.testing import open_storage, samples
from fullresult_storage_sql import plugin
from fullresult_storage_sql.connections import Connections
from fullresult_storage_sql.postgresql_server import Server
from fullresult_storage_sql.postgresql_session import Session

_CUT = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_LOCK = "SELECT pg_advisory_xact_lock(7310293058)"
_ORPHANS = (
    "SELECT count(*) FROM fullresult_execution AS e "
    "WHERE NOT EXISTS (SELECT 1 FROM fullresult_task AS t WHERE t.task_id = e.task_id)"
)


def project(url: str, **settings: Any) -> FullResult:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(fullresult_storage=url, fullresult_storage_timeout=2, **settings)
    return FullResult(app)


@pytest.fixture
def full(postgresql_url: str) -> Iterator[FullResult]:
    full = project(postgresql_url)
    full.setup()
    yield full
    full.close()


def publish(full: FullResult, argument: object = 1) -> str:
    task_id: str = full.app.send_task("shop.pay", (argument,)).id
    return task_id


def run(url: str, sql: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as session:
        cursor = session.execute(sql)
        return list(cursor.fetchall()) if cursor.description else []


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def waiting_for_a_lock(url: str) -> bool:
    sql = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = "
    return bool(run(url, sql + "current_database()"))


@contextmanager
def held(url: str, sql: str) -> Iterator[None]:
    """The locks that *sql* takes are another session's."""
    with psycopg.connect(url) as session:
        session.execute(sql)
        yield


def opened(url: str) -> Any:
    storage = plugin.fullresult_open_storage(url, Settings(storage=url))
    assert storage is not None
    return vars(storage)["_database"]


def test_first_use_waits_for_an_upgrade_elsewhere_no_longer_than_the_timeout(
    postgresql_url: str,
) -> None:
    full = project(postgresql_url)
    with held(postgresql_url, _LOCK):
        began = time.monotonic()
        with pytest.raises(StorageError, match="another process may be upgrading"):
            full.count()
        assert time.monotonic() - began < 4


def test_a_long_upgrade_at_first_use_is_given_up(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "fullresult_storage_sql.statements.migrations", lambda _: ((1, "SELECT pg_sleep(6)"),)
    )
    began = time.monotonic()
    with pytest.raises(StorageError, match="fullresult setup"):
        project(postgresql_url).count()
    assert time.monotonic() - began < 5


def test_setup_waits_for_an_upgrade_elsewhere_beyond_the_timeout(postgresql_url: str) -> None:
    full = project(postgresql_url)
    setup = threading.Thread(target=full.setup)
    with held(postgresql_url, _LOCK):
        setup.start()
        setup.join(3)
        assert setup.is_alive()
    setup.join(10)
    assert full.count() == 0


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql:///db?host=/tmp", "postgresql:///db?host=/tmp"),
        ("postgresql:///db?prepare=off&host=%2Ftmp", "postgresql:///db?host=%2Ftmp"),
        (
            "postgresql://host/db?synchronous=FULL&options=-c%20jit%3Don",
            "postgresql://host/db?options=-c%20jit%3Don",
        ),
        ("postgresql://host/db?prepare=off", "postgresql://host/db"),
    ],
)
def test_what_is_libpqs_in_a_url_stays_as_written(url: str, expected: str) -> None:
    left = vars(vars(opened(url))["_server"])["_url"]

    assert left == expected
    assert conninfo_to_dict(left)["dbname"] == "db"


def test_a_relative_file_needs_a_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ImproperlyConfigured, match="working directory, which is gone"):
        opened("sqlite:///records.db")


@pytest.mark.parametrize("prepared", [False, True])
def test_a_cut_connection_costs_no_event(
    full: FullResult, postgresql_url: str, prepared: bool
) -> None:
    """The first write fails when it is sent, one with a large body half-way through that."""
    if prepared:
        publish(full)
    run(postgresql_url, _CUT)

    task_id = publish(full, "x" * 5_000_000)

    assert full.get(task_id) is not None


def test_a_nul_is_refused_and_the_connection_kept(full: FullResult, postgresql_url: str) -> None:
    event = full.get(publish(full))
    assert event is not None
    before = run(postgresql_url, "SELECT pid FROM pg_stat_activity WHERE datname ~ current_catalog")

    with pytest.raises(Refused, match="NUL"):
        full.storage.write([replace(event, task_id="a\0b")])

    assert full.get("a") is None
    after = run(postgresql_url, "SELECT pid FROM pg_stat_activity WHERE datname ~ current_catalog")
    assert len(set(before) & set(after)) == 1


def test_settings_of_the_database_are_not_ours(postgresql_url: str) -> None:
    name = conninfo_to_dict(postgresql_url)["dbname"]
    run(postgresql_url, f"ALTER DATABASE {name} SET datestyle = 'German, DMY'")
    run(
        postgresql_url,
        f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'",
    )
    full = project(postgresql_url)
    task_id = publish(full)
    locked = f"UPDATE fullresult_task SET queue = queue WHERE task_id = '{task_id}'"
    event = full.get(task_id)
    assert event is not None
    write = threading.Thread(target=lambda: full.storage.write([event, event]))
    with held(postgresql_url, locked):
        write.start()
        until(lambda: waiting_for_a_lock(postgresql_url))
    write.join()

    assert full.get(task_id) == event
    assert full.count() == 1


@pytest.mark.parametrize("error", ["SerializationFailure", "DeadlockDetected"])
@pytest.mark.parametrize("begun", [False, True])
def test_a_conflict_is_tried_once_more(
    full: FullResult, monkeypatch: pytest.MonkeyPatch, error: str, begun: bool
) -> None:
    event = full.get(publish(full))
    assert event is not None
    raised: list[str] = []
    answer = Session.first_value

    def conflicting(session: Session) -> bytes | None:
        found = answer(session)
        if not raised:
            raised.append(error)
            raise getattr(psycopg.errors, error)
        return found

    monkeypatch.setattr(Session, "first_value", conflicting)

    database = vars(full.storage)["_database"]
    lacking = database.begin_write(event)() if begun else database.write([event])

    assert raised
    assert lacking == []


def test_deleting_while_an_entry_is_written_leaves_none_behind(
    full: FullResult, postgresql_url: str
) -> None:
    task_id = publish(full)
    deleted: list[int] = []
    delete = threading.Thread(target=lambda: deleted.append(full.delete(name="shop.pay")))
    writer = (
        f"UPDATE fullresult_task SET queue = 'q' WHERE task_id = '{task_id}'; "
        "INSERT INTO fullresult_execution (task_id, stamp, retries, state) "
        f"VALUES ('{task_id}', '1', 0, 'RETRY')"
    )
    with held(postgresql_url, writer):
        delete.start()
        until(lambda: waiting_for_a_lock(postgresql_url))
    delete.join()

    assert deleted == [1]
    assert run(postgresql_url, _ORPHANS) == [(0,)]


def test_ctrl_c_does_not_take_back_a_write_on_its_way(
    full: FullResult, postgresql_url: str
) -> None:
    task_id = publish(full)
    event = full.get(task_id)
    assert event is not None
    locked = f"UPDATE fullresult_task SET message_stamp = '~' WHERE task_id = '{task_id}'"
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with held(postgresql_url, locked):
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            with pytest.raises(KeyboardInterrupt):
                full.storage.write([event])
    finally:
        signal.signal(signal.SIGALRM, before)

    until(lambda: full.get(task_id) == event)


class Connection:
    """One that survives only a ValueError."""

    owner = 0
    closed = False
    is_worn = False

    def close(self) -> None:
        self.closed = True

    def survives(self, error: BaseException) -> bool:
        return isinstance(error, ValueError)


def failing(error: BaseException) -> Callable[[Connection, bool], None]:
    def fail(_: Connection, __: bool) -> None:
        raise error

    return fail


def test_a_connection_is_kept_if_it_survives_an_error() -> None:
    connections = Connections(Connection, size=10, timeout=0.2)
    first, _ = connections.take()
    connections.give_back(first)

    with pytest.raises(ValueError, match="refused"):
        connections.use(failing(ValueError("refused")))
    assert not first.closed
    with pytest.raises(KeyboardInterrupt):
        connections.use(failing(KeyboardInterrupt()))
    assert first.closed


def test_connections_that_were_opened_are_kept() -> None:
    connections = Connections(Connection, size=10, timeout=0.2)
    taken = [connections.take()[0] for _ in range(10)]
    for connection in taken:
        connections.give_back(connection)

    assert not any(connection.closed for connection in taken)
    assert {connections.take()[0] for _ in range(10)} == {*taken}


def test_a_connection_lent_across_a_fork_is_neither_used_nor_closed_by_the_child() -> None:
    connections = Connections(Connection, size=10, timeout=0.2)
    connection, _ = connections.take()
    child = os.fork()
    if not child:
        connections.take()
        connections.give_back(connection)
        other, used = connections.take()
        os._exit(connection.closed or used or other is connection)

    assert os.waitpid(child, 0)[1] == 0


def test_an_interrupt_as_a_connection_is_taken_leaves_none_lent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connections = Connections(Connection, size=10, timeout=0.2, close_before_fork=True)
    take = connections.take

    def interrupted() -> tuple[Connection, bool]:
        take()
        raise KeyboardInterrupt

    monkeypatch.setattr(connections, "take", interrupted)
    with pytest.raises(KeyboardInterrupt):
        connections.use(failing(ValueError()))

    began = time.monotonic()
    connections.before_fork()
    connections.after_fork_in_parent()
    assert time.monotonic() - began < 1


def test_an_error_in_a_transaction_leaves_a_connection_unfit(postgresql_url: str) -> None:
    server = Server(postgresql_url, timeout=timedelta(seconds=2), pool_size=1, prepare=True)
    session = server.connect()
    session.execute("BEGIN")

    assert not session.survives(psycopg.errors.DataError())
    session.close()


def many(task_id: str, numbers: Iterable[int]) -> TaskRecord:
    entries = (samples.entry(RETRY, samples.after(n), retries=n) for n in numbers)
    return samples.event(task_id, entries=tuple(entries))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_of_a_task_that_is_retried_without_end_the_newest_thousand_executions_are_kept(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """As on MongoDB: neither a table nor an answer grows without bound."""
    sqlite = kind == "sqlite"
    url = f"sqlite:///{tmp_path}/a.db" if sqlite else request.getfixturevalue("postgresql_url")
    with closing(open_storage(url)) as storage:
        for number in range(30):
            storage.write([many("a", range(100 * number, 100 * (number + 1)))])
        storage.write([many("b", range(1_050))])
        asked = "SELECT count(*) FROM fullresult_execution WHERE task_id = 'a'"

        assert vars(storage)["_database"].ask(asked, ())[0][0] <= 1_100
        for task_id, newest in (("a", 2_999), ("b", 1_049)):
            found = storage.get(task_id)
            assert found is not None
            retries = [entry.retries for entry in found.entries]
            assert retries == [*range(newest - 999, newest + 1)]
