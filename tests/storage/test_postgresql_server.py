"""What a PostgreSQL server is left with by processes that give up, die or share its sessions."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from fullresult import plugins
from fullresult.config import Settings
from fullresult.storage import StorageError, TaskQuery
from fullresult.testing import samples
from tests.kit.counting import end, publish

_LOCK = "LOCK TABLE fullresult_task IN ACCESS EXCLUSIVE MODE"
_WAITING = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


@contextmanager
def opened(url: str, *, seconds: float = 5) -> Iterator[Any]:
    settings = Settings(storage=url, storage_timeout=timedelta(seconds=seconds))
    with closing(plugins.open_storage(settings)) as storage:
        storage.setup()
        yield storage


@contextmanager
def locked(url: str) -> Iterator[psycopg.Connection[Any]]:
    """The table of records is another session's; a third one looks around."""
    with psycopg.connect(url) as holder, psycopg.connect(url, autocommit=True) as session:
        holder.execute(_LOCK)
        yield session


def waiting(session: psycopg.Connection[Any]) -> int:
    row = session.execute(_WAITING).fetchone()
    assert row is not None
    return int(row[0])


def until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    "ask",
    [
        lambda storage: publish(storage, "a"),
        lambda storage: storage.begin_write(samples.task("a"))(),
        lambda storage: end(storage, "a"),
        lambda storage: storage.count(TaskQuery(text="x")),
    ],
    ids=["write", "begin_write", "write_and_join", "count"],
)
def test_while_a_table_is_locked_a_process_has_one_backend_at_most(
    postgresql_url: str, ask: Callable[[Any], Any]
) -> None:
    """Each call gives up; what it asked for is not left to wait for the lock."""
    with opened(postgresql_url, seconds=0.5) as storage, locked(postgresql_url) as session:
        seen = []
        for _ in range(6):
            with pytest.raises(StorageError):
                ask(storage)
            seen.append(waiting(session))

        assert max(seen) <= 1
        until(lambda: waiting(session) == 0, 2)


def test_a_process_that_is_killed_leaves_no_statement_behind(postgresql_url: str) -> None:
    """Though its own time limit is far."""
    with opened(postgresql_url):
        pass
    program = (
        "import sys; from fullresult.testing import open_storage, samples; "
        "open_storage(sys.argv[1]).write([samples.task('a')])"
    )
    with locked(postgresql_url) as session:
        process = subprocess.Popen([sys.executable, "-c", program, postgresql_url])
        until(lambda: waiting(session) == 1, 20)
        process.kill()
        process.wait()

        until(lambda: waiting(session) == 0, 2)


def test_a_statement_ends_before_its_caller_gives_up(postgresql_url: str) -> None:
    """And the connection is used again, as the server said that it did nothing."""
    with opened(postgresql_url, seconds=1) as storage:
        database = vars(storage)["_database"]
        (before,) = database.ask("SELECT pg_backend_pid()", ())
        with pytest.raises(StorageError, match="statement timeout"):
            database.ask("SELECT pg_sleep(20)", ())

        assert database.ask("SELECT pg_backend_pid()", ()) == [before]


def test_setup_has_no_time_limit(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(postgresql_url, seconds=0.5) as storage:
        monkeypatch.setattr(
            "fullresult_storage_sql.statements.migrations",
            lambda _: ((1000, "SELECT pg_sleep(2)"),),
        )
        storage.setup()

        versions = vars(storage)["_database"].ask("SELECT max(version) FROM fullresult_schema", ())
        assert versions == [(1000,)]


def settings_of(session: psycopg.Connection[Any]) -> dict[str, str]:
    return dict(session.execute("SELECT name, setting FROM pg_settings").fetchall())


def sweep(storage: Any) -> None:
    """A schedule from its beginning to its end."""
    schedule = samples.schedule("s")
    storage.schedule(schedule, samples.task("s"))
    assert storage.next_due(schedule.namespace) == schedule.due
    claimed = storage.claim_due(schedule.namespace, schedule.due, "claim", 10)
    assert [each.schedule_id for each in claimed] == ["s"]
    assert storage.mark_sent("claim", ["s"], [samples.task("s")]) == ["s"]


def live(storage: Any) -> None:
    for number in range(10):
        publish(storage, f"{number}")
    storage.begin_write(samples.task("a", state="PENDING"))()
    storage.write([samples.task("b"), samples.task("c")])
    assert [end(storage, member, f"call {member}") for member in "12"] == [False, True]
    assert storage.count(TaskQuery()) == 13


_LIFE: list[Callable[[Any], object]] = [
    live,
    lambda storage: storage.find(TaskQuery(text="x", limit=10)),
    lambda storage: storage.delete_expired(samples.NOON, 500),
    lambda storage: storage.delete(TaskQuery()),
    sweep,
    lambda storage: storage.now(),
]


@pytest.mark.parametrize("defaults", [(), ("default_transaction_isolation = 'serializable'",)])
def test_behind_pgbouncer_nothing_changes_for_other_applications(
    postgresql_url: str, pooled_url: str, defaults: tuple[str, ...]
) -> None:
    for setting in defaults:
        name = urlsplit(postgresql_url).path.strip("/")
        with psycopg.connect(postgresql_url, autocommit=True) as session:
            session.execute(f"ALTER DATABASE {name} SET {setting}".encode())
    with psycopg.connect(pooled_url, autocommit=True, prepare_threshold=None) as other:
        before = settings_of(other)
        with opened(f"{pooled_url}?prepare=off") as storage:
            changed = []
            for step in _LIFE:
                step(storage)
                now = settings_of(other).items() - before.items()
                # A session in which a trigger ran has the settings of its language, too.
                changed.append({name: v for name, v in now if not name.startswith("plpgsql.")})

    assert changed == [{}] * len(_LIFE)


def test_a_session_that_is_shared_must_write_dates_as_it_should(
    postgresql_url: str, pooled_url: str
) -> None:
    name = urlsplit(postgresql_url).path.strip("/")
    with psycopg.connect(postgresql_url, autocommit=True) as session:
        session.execute(f"ALTER DATABASE {name} SET datestyle = 'German'".encode())

    with pytest.raises(StorageError, match="ALTER ROLE"), opened(f"{pooled_url}?prepare=off"):
        pass
