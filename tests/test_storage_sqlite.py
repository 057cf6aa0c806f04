"""SQLite keeps the contract of a storage."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from fullresult.storage import StorageError
from fullresult.testing import StorageSuite, open_storage

OLD = Path(__file__).parent / "old_schemas"


class TestSQLite(StorageSuite):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/tasks.db"

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
