"""SQLite keeps the contract of a storage."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from fullresult import plugins
from fullresult.config import Settings
from fullresult.storage import StorageError
from fullresult.testing import StorageSuite, open_storage, samples
from fullresult.testing.outbox import Connect
from tests.kit.outbox import KINDS

OLD = Path(__file__).parent / "old_schemas"


class TestSQLite(StorageSuite):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/tasks.db"

    @pytest.fixture
    def connect(self, url: str) -> Connect:
        return partial(KINDS["sqlite3"][1], url)

    @pytest.fixture
    def unreachable_url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/no such directory/tasks.db"

    @pytest.fixture(params=sorted(OLD.glob("sqlite_*.sql")), ids=lambda file: file.stem)
    def old_url(self, url: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
        with closing(sqlite3.connect(tmp_path / "tasks.db")) as connection:
            connection.executescript(request.param.read_text(encoding="utf-8"))
        return url


def test_a_file_that_is_no_database_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "tasks.db").write_text("This is a letter, not a database. " * 100)
    storage = open_storage(f"sqlite:///{tmp_path}/tasks.db")

    with pytest.raises(StorageError, match="not a database"):
        storage.setup()


def test_a_directory_is_a_storage_error(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path}")

    with pytest.raises(StorageError, match="unable to open"):
        storage.setup()


@pytest.mark.parametrize("old", sorted(OLD.glob("sqlite_*.sql")), ids=lambda file: file.stem)
def test_a_file_that_was_upgraded_is_made_as_a_new_one(tmp_path: Path, old: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "old.db")) as connection:
        connection.executescript(old.read_text(encoding="utf-8"))

    made = [schema_of(tmp_path / name) for name in ("old.db", "new.db")]

    assert made[0] == made[1]


def schema_of(file: Path) -> list[tuple[str, str]]:
    """All tables and indexes of a file that is set up."""
    storage = open_storage(f"sqlite:///{file}")
    storage.setup()
    storage.close()
    with closing(sqlite3.connect(file)) as connection:
        found = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return sorted((name, " ".join(sql.split())) for name, sql in found)


def test_a_file_that_this_process_itself_holds_is_named_as_such(tmp_path: Path) -> None:
    """As in a test of Django's, where the records are in its own file."""
    file = tmp_path / "records.db"
    settings = Settings(storage=f"sqlite:///{file}", storage_timeout=timedelta(seconds=0.1))
    with closing(plugins.open_storage(settings)) as storage, closing(sqlite3.connect(file)) as own:
        storage.setup()
        own.execute("BEGIN IMMEDIATE")

        with pytest.raises(StorageError, match=r"locked: another connection .* this process's own"):
            storage.write([samples.task("a")])
