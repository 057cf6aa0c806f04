"""An adapter whose storage has the nine methods of `Storage` and nothing else.

Its suite is not collected with the other tests: `test_memory_only.py` runs this file.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path

import pytest

from fullresult.config import Settings
from fullresult.hookspecs import hookimpl
from fullresult.record import TaskQuery, TaskRecord
from fullresult.storage import Storage
from fullresult.testing import StorageSuite, open_storage

SCHEME = "memoryonly"


class MemoryOnly:
    """The SQLite storage, without schedules and whatever else is optional."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def __repr__(self) -> str:
        return "<MemoryOnly>"

    def setup(self) -> None:
        self._storage.setup()

    def close(self) -> None:
        self._storage.close()

    def now(self) -> datetime:
        return self._storage.now()

    def write(self, events: Sequence[TaskRecord]) -> Collection[str]:
        return self._storage.write(events)

    def get(self, task_id: str) -> TaskRecord | None:
        return self._storage.get(task_id)

    def find(self, query: TaskQuery) -> list[TaskRecord]:
        return self._storage.find(query)

    def count(self, query: TaskQuery) -> int:
        return self._storage.count(query)

    def delete(self, query: TaskQuery) -> int:
        return self._storage.delete(query)

    def delete_expired(self, now: datetime, limit: int) -> int:
        return self._storage.delete_expired(now, limit)


def open_memory_only(url: str) -> MemoryOnly:
    return MemoryOnly(open_storage(url.replace(SCHEME, "sqlite")))


@hookimpl
def fullresult_open_storage(url: str, settings: Settings) -> Storage | None:
    del settings
    return open_memory_only(url)


def install(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this module found for its scheme, as an installed adapter is."""
    info = directory / "memory_only-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: memory-only\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[fullresult.storage]\n{SCHEME} = {__name__}\n")
    monkeypatch.syspath_prepend(directory)


class TestMemoryOnly(StorageSuite):
    open_storage = staticmethod(open_memory_only)

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"{SCHEME}:///{tmp_path}/tasks.db"
