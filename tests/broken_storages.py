"""Storages with one fault each, over a sound one, and suites that run on them.

Not collected with the other tests: `test_broken_storages.py` runs this file, and expects failures.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import Phase, settings

# Before the suite makes its own settings of these: one failure is enough, and need not be small.
settings.register_profile("broken", phases=[Phase.generate], database=None)
settings.load_profile("broken")

# ruff: noqa: E402
from fullresult.record import TaskRecord
from fullresult.storage import Storage, TaskQuery
from fullresult.testing import StorageSuite, open_storage


class Sound:
    """Passes every call on."""

    def __init__(self, url: str) -> None:
        self._storage = open_storage(url)

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


class LastArrivalWins(Sound):
    """Takes the outcome that came last for the true one, whatever its stamp."""

    def write(self, events: Sequence[TaskRecord]) -> Collection[str]:
        return super().write([self._winning(event) for event in events])

    def _winning(self, event: TaskRecord) -> TaskRecord:
        known = self.get(event.task_id)
        if event.outcome is None or known is None or known.outcome is None:
            return event
        self.delete(TaskQuery(text=event.task_id))
        return replace(known, outcome=event.outcome, entries=(*known.entries, *event.entries))


class ReadsThenWrites(Sound):
    """Merges in Python between a read and a write, forgets entries, and knows no worker."""

    def write(self, events: Sequence[TaskRecord]) -> Collection[str]:
        lacking: list[str] = []
        for event in events:
            known = self.get(event.task_id)
            entries = event.entries if known is None else ()
            lacking += super().write([replace(event, entries=entries)])
        return lacking

    def find(self, query: TaskQuery) -> list[TaskRecord]:
        return super().find(replace(query, worker=None))


class Suite(StorageSuite):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path}/tasks.db"


class TestSound(Suite):
    @staticmethod
    def open_storage(url: str) -> Storage:
        return Sound(url)


class TestLastArrivalWins(Suite):
    @staticmethod
    def open_storage(url: str) -> Storage:
        return LastArrivalWins(url)


class TestReadsThenWrites(Suite):
    @staticmethod
    def open_storage(url: str) -> Storage:
        return ReadsThenWrites(url)
