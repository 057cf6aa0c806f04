"""SQLite keeps the contract of a storage."""

from __future__ import annotations

from pathlib import Path

import pytest

from fullresult.testing import StorageSuite


class TestSQLite(StorageSuite):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/tasks.db"

    @pytest.fixture
    def unreachable_url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/no such directory/tasks.db"
