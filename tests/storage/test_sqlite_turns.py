"""Waiting for one's turn to write a SQLite file."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from fullresult import plugins
from fullresult.config import Settings
from fullresult.storage import Storage, StorageError
from fullresult.testing import open_storage, processes, samples
from fullresult_storage_sql.sqlite_turns import in_turn

PATIENCE = 30


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tasks.db"


@pytest.fixture
def storage(file: Path) -> Iterator[Storage]:
    storage = open_storage(f"sqlite:///{file}")
    storage.setup()
    yield storage
    storage.close()


@contextmanager
def writing(file: Path) -> Iterator[sqlite3.Connection]:
    """Somebody else is in the middle of writing."""
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


def test_what_comes_while_another_writes_is_written_when_he_is_done(
    storage: Storage, file: Path
) -> None:
    with writing(file) as other:
        release = threading.Timer(0.3, lambda: other.execute("COMMIT"))
        release.start()
        storage.write([samples.task("a")])
        done = other.in_transaction
        release.join(PATIENCE)

    assert not done
    assert storage.get("a") is not None


def test_reading_waits_for_no_writer(storage: Storage, file: Path) -> None:
    storage.write([samples.task("a")])

    with writing(file):
        found = storage.get("a")

    assert found is not None


def test_after_the_timeout_it_is_given_up(storage: Storage, file: Path) -> None:
    settings = Settings(storage=f"sqlite:///{file}", storage_timeout=timedelta(seconds=0.3))
    impatient = plugins.open_storage(settings)
    impatient.get("a")
    began = time.monotonic()

    with writing(file), pytest.raises(StorageError, match="locked"):
        impatient.write([samples.task("a")])

    assert 0.3 <= time.monotonic() - began < PATIENCE
    impatient.close()
    storage.write([samples.task("b")])


@pytest.mark.slow
def test_of_several_processes_that_write_all_the_time_each_gets_its_turn(
    storage: Storage, file: Path
) -> None:
    batches = {
        name: [[samples.task(f"{name} {number}")] for number in range(100)] for name in "abc"
    }
    given = [(open_storage, f"sqlite:///{file}", batches[name]) for name in batches]

    codes = processes.run(processes.write, *given)

    assert codes == [0] * 3
    assert all(storage.get(f"{name} 99") is not None for name in "abc")


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("no such table: fullresult_task", sqlite3.OperationalError),
        ("disk I/O error", sqlite3.OperationalError),
        ("UNIQUE constraint failed", sqlite3.IntegrityError),
    ],
)
def test_any_other_error_is_raised_at_once(
    file: Path, message: str, kind: type[sqlite3.Error]
) -> None:
    tries: list[int] = []

    with closing(sqlite3.connect(file)) as session, pytest.raises(kind, match=message):
        in_turn(session, failing(kind(message), tries), PATIENCE)

    assert len(tries) == 1


def test_what_is_in_the_middle_of_a_transaction_is_not_done_again(file: Path) -> None:
    tries: list[int] = []
    busy = sqlite3.OperationalError("database is locked")

    with closing(sqlite3.connect(file, isolation_level=None)) as session:
        session.execute("BEGIN")
        with pytest.raises(sqlite3.OperationalError):
            in_turn(session, failing(busy, tries), PATIENCE)

    assert len(tries) == 1


def failing(error: sqlite3.Error, tries: list[int]) -> Callable[[], None]:
    def do() -> None:
        tries.append(1)
        raise error

    return do
