"""A journal keeps the contract of a storage."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fullresult.testing import StorageSuite

OLD = Path(__file__).with_name("journal_1")


class TestJournal(StorageSuite):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"journal:///{tmp_path}/tasks"

    @pytest.fixture
    def unreachable_url(self, tmp_path: Path) -> str:
        return f"journal:///{tmp_path}/no such directory/tasks"

    @pytest.fixture
    def old_url(self, url: str, tmp_path: Path) -> str:
        shutil.copy(OLD, tmp_path / "tasks")
        return url
