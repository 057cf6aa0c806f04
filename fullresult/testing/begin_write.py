"""The suite: writing while the caller does something else, if a storage can."""

from __future__ import annotations

import signal

import pytest

from fullresult.record import STARTED
from fullresult.record.merging import merge
from fullresult.storage import OverlappingStorage, Storage
from fullresult.testing import processes, samples
from fullresult.testing.fixtures import Fixtures, known
from fullresult.testing.processes import OpenStorage
from fullresult.testing.threads_and_forks import check_whole, told


class Overlapping(Fixtures):
    @pytest.fixture
    def overlapping(self, storage: Storage) -> OverlappingStorage:
        if not isinstance(storage, OverlappingStorage):
            pytest.skip("this storage has no begin_write")
        return storage

    def test_an_event_begun_is_written_once_finished(
        self, storage: Storage, overlapping: OverlappingStorage
    ) -> None:
        finish = overlapping.begin_write(told("a", 1))

        lacking = finish()

        assert list(lacking) == []
        check_whole(known(storage, "a"))

    def test_finishing_answers_the_id_of_a_record_without_a_message(
        self, overlapping: OverlappingStorage
    ) -> None:
        event = samples.event("a", outcome=samples.outcome(STARTED))

        lacking = overlapping.begin_write(event)()

        assert list(lacking) == ["a"]

    def test_a_storage_answers_and_writes_between_begin_and_finish(
        self, storage: Storage, overlapping: OverlappingStorage
    ) -> None:
        first, second = told("a", 1), told("a", 2)

        finish = overlapping.begin_write(first)
        finish_another = overlapping.begin_write(told("b", 1))
        storage.write([second])
        found = storage.get("a")
        finish_another()
        finish()

        assert found is not None
        assert known(storage, "a") == merge(first, second)
        check_whole(known(storage, "b"))

    def test_an_event_on_its_way_is_written_though_its_process_ends(
        self, storage: Storage, overlapping: OverlappingStorage, url: str, opener: OpenStorage
    ) -> None:
        assert isinstance(overlapping, OverlappingStorage)

        codes = processes.run(processes.begin_and_die, (opener, url, told("a", 1)))

        assert codes == [-signal.SIGKILL]
        assert processes.until(lambda: storage.get("a") is not None)
        check_whole(known(storage, "a"))
