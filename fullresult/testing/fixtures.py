"""The fixtures by which the suite knows the adapter it tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from fullresult import plugins
from fullresult.config import Settings
from fullresult.record import TaskRecord
from fullresult.storage import ScheduleStorage, Storage, StorageError
from fullresult.testing import samples
from fullresult.testing.processes import OpenStorage

thorough = settings(
    deadline=None,
    max_examples=60,
    # A storage may be shared by examples: each has task ids of its own.
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.differing_executors,
        HealthCheck.too_slow,
    ],
)


def open_storage(url: str) -> Storage:
    """The storage at *url*, by the adapter installed for its scheme."""
    return plugins.open_storage(Settings(storage=url))


class Fixtures:
    """Override these in a subclass; only `url` must be."""

    @pytest.fixture
    def url(self) -> str:
        """The URL of a new, empty database, for each test."""
        pytest.fail("give your suite a fixture `url`: the URL of a new, empty database")

    @pytest.fixture
    def unreachable_url(self) -> str:
        """A URL where no storage answers."""
        pytest.skip("the suite has no fixture `unreachable_url`")

    @pytest.fixture
    def old_url(self) -> str:
        """A database that an older version of the adapter made.

        It had written `fullresult.testing.OLD_RECORDS` there.
        """
        pytest.skip("the suite has no fixture `old_url`")

    @staticmethod
    def open_storage(url: str) -> Storage:
        """The storage at *url*, not yet connected. It must be possible to pickle this function."""
        return open_storage(url)

    @pytest.fixture
    def opener(self) -> OpenStorage:
        return type(self).open_storage

    @pytest.fixture
    def storage(self, url: str, opener: OpenStorage) -> Iterator[Storage]:
        """A storage that is set up and empty."""
        storage = opener(url)
        storage.setup()
        yield storage
        storage.close()


class ScheduleFixtures(Fixtures):
    @pytest.fixture
    def schedule_storage(self, storage: Storage) -> ScheduleStorage:
        """The same storage, for tests of schedules; skips the test if it keeps none."""
        return with_schedules_or_skip(storage)


def with_schedules_or_skip(storage: Storage) -> ScheduleStorage:
    if not isinstance(storage, ScheduleStorage):
        pytest.skip("this storage keeps no schedules")
    return storage


def must_say_so(storage: Storage, call: Callable[[Any], object]) -> None:
    """*call* asks *storage*, which does not answer: that is a `StorageError` with some words."""
    with pytest.raises(StorageError, match=r"\w"):
        call(storage)
    storage.close()


def known(storage: Storage, task_id: str) -> TaskRecord:
    """The record of *task_id*, which must be there, with its JSON in one spelling."""
    record = storage.get(task_id)
    assert record is not None, f"{task_id!r} was written and is not there"
    return samples.plain(record)


def write(storage: Storage, events: Iterable[TaskRecord]) -> None:
    """Write *events*, of different tasks, in one batch."""
    storage.write(sorted(events, key=lambda event: event.task_id))


def ids(records: Iterable[TaskRecord]) -> list[str]:
    return [record.task_id for record in records]
