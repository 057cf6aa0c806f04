"""The suite: setup, closing, time, errors, and databases of older versions."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from fullresult.storage import Storage, TaskQuery
from fullresult.testing import processes, samples
from fullresult.testing.fixtures import Fixtures, ids, known, must_say_so
from fullresult.testing.processes import OpenStorage

CALLS: dict[str, Callable[[Storage], object]] = {
    "setup": lambda storage: storage.setup(),
    "now": lambda storage: storage.now(),
    "write": lambda storage: storage.write([samples.task("a")]),
    "get": lambda storage: storage.get("a"),
    "find": lambda storage: storage.find(TaskQuery()),
    "count": lambda storage: storage.count(TaskQuery()),
    "delete": lambda storage: storage.delete(TaskQuery()),
    "delete_expired": lambda storage: storage.delete_expired(samples.NOON, 10),
}


class Life(Fixtures):
    def test_setup_keeps_what_is_there(self, storage: Storage) -> None:
        storage.write([samples.rich("a")])

        storage.setup()

        assert known(storage, "a") == samples.plain(samples.rich("a"))

    def test_setup_may_be_done_by_many_threads_at_once(self, url: str, opener: OpenStorage) -> None:
        storages = [opener(url) for _ in range(8)]

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda storage: storage.setup(), storages))

        assert [storage.count(TaskQuery()) for storage in storages] == [0] * 8
        for storage in storages:
            storage.close()

    def test_setup_may_be_done_by_many_processes_at_once(
        self, url: str, opener: OpenStorage
    ) -> None:
        tasks = [samples.task(f"{number}") for number in range(3)]

        codes = processes.run(
            processes.set_up_and_write, *((opener, url, [task]) for task in tasks)
        )

        assert codes == [0] * 3
        storage = opener(url)
        assert storage.count(TaskQuery()) == 3
        storage.close()

    def test_now_is_aware_in_utc_and_to_the_millisecond(self, storage: Storage) -> None:
        now = storage.now()

        assert now.utcoffset() == timedelta(0)
        assert now.microsecond % 1000 == 0

    def test_now_goes_on(self, storage: Storage) -> None:
        first = last = storage.now()
        for _ in range(10_000):
            now = storage.now()
            assert now >= last
            last = now
            if last > first:
                break

        assert last > first

    def test_a_closed_storage_may_be_used_again(self, storage: Storage) -> None:
        storage.write([samples.task("a")])

        storage.close()
        storage.close()

        assert ids(storage.find(TaskQuery())) == ["a"]
        assert storage.write([samples.task("b")]) is not None

    def test_a_storage_never_used_may_be_closed(self, url: str, opener: OpenStorage) -> None:
        opener(url).close()

    def test_two_storages_of_one_url_are_one(self, url: str, opener: OpenStorage) -> None:
        one, other = opener(url), opener(url)
        one.setup()

        one.write([samples.task("a")])

        assert ids(other.find(TaskQuery())) == ["a"]
        one.close()
        other.close()

    @pytest.mark.parametrize("call", CALLS)
    def test_a_storage_that_does_not_answer_is_a_storage_error(
        self, unreachable_url: str, opener: OpenStorage, call: str
    ) -> None:
        storage = opener(unreachable_url)

        must_say_so(storage, CALLS[call])

    def test_records_of_an_older_version_are_read_after_setup(
        self, old_url: str, opener: OpenStorage
    ) -> None:
        storage = opener(old_url)
        expected = {record.task_id: samples.plain(record) for record in OLD_RECORDS}

        storage.setup()

        found = storage.find(TaskQuery(limit=None))
        assert {record.task_id: samples.plain(record) for record in found} == expected
        assert ids(storage.find(TaskQuery(kwargs={"order": 7}))) == ["old paid"]
        assert ids(storage.find(TaskQuery(open=True))) == ["old open"]
        storage.close()

    def test_records_of_an_older_version_go_on_after_setup(
        self, old_url: str, opener: OpenStorage
    ) -> None:
        storage = opener(old_url)
        storage.setup()

        storage.write([samples.event("old open", outcome=samples.outcome("SUCCESS"))])

        record = known(storage, "old open")
        assert record.state == "SUCCESS"
        assert record.name == "shop.pay"
        storage.close()

    def test_records_of_an_older_version_expire_and_have_results_after_setup(
        self, old_url: str, opener: OpenStorage
    ) -> None:
        storage = opener(old_url)
        storage.setup()
        ended = samples.outcome("SUCCESS", expire_at=samples.EXPIRY)

        storage.write([samples.event("old open", outcome=ended, stored=samples.RICH_STORED)])

        assert known(storage, "old open").stored == samples.RICH_STORED
        assert storage.delete_expired(samples.EXPIRY, 10) == 1
        assert storage.get("old open") is None
        assert storage.count(TaskQuery()) == len(OLD_RECORDS) - 1
        storage.close()


OLD_RECORDS = (
    replace(
        samples.rich("old rich"),
        outcome=samples.RICH_OUTCOME._replace(expire_at=None, fingerprint=None),
        stored=None,
        resent=None,
        published_again=None,
        own=None,
    ),
    samples.task("old paid", kwargs={"order": 7}),
    samples.task("old open", state="STARTED"),
    samples.event("old outcome", outcome=samples.outcome("FAILURE")),
)
"""The records that an older version must have written; see the fixture `old_url`."""
