"""The suite: records that may be deleted once they have expired."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from fullresult.record import PENDING, SCHEDULED, STARTED, SUCCESS, TaskRecord
from fullresult.storage import ScheduleStorage, Storage, TaskQuery
from fullresult.testing import processes, samples
from fullresult.testing.fixtures import ScheduleFixtures, ids, known, write
from fullresult.testing.processes import OpenStorage


class Expiring(ScheduleFixtures):
    def test_what_expires_now_is_deleted_and_what_does_a_millisecond_later_is_not(
        self, storage: Storage
    ) -> None:
        expiring(storage, *(-1, 0, 1))
        storage.write([samples.task("never")])

        deleted = [storage.delete_expired(samples.expiry(n), 10) for n in (-2, -1, -1, 0)]

        assert deleted == [0, 1, 0, 1]
        assert sorted(ids(storage.find(TaskQuery()))) == ["1", "never"]

    def test_what_expired_first_is_deleted_first_up_to_a_limit(self, storage: Storage) -> None:
        expiring(storage, 3, 1, 4, 2, 5)

        deleted = [storage.delete_expired(samples.expiry(4), limit) for limit in (0, 3)]

        assert deleted == [0, 3]
        assert sorted(ids(storage.find(TaskQuery()))) == ["4", "5"]
        assert storage.delete_expired(samples.expiry(4), 1_000) == 1

    def test_the_entries_of_what_expired_are_gone_too(self, storage: Storage) -> None:
        entry = samples.entry()
        storage.write([ended("a", samples.EXPIRY, entries=(entry,))])

        storage.delete_expired(samples.EXPIRY, 10)
        storage.write([samples.event("a")])

        assert known(storage, "a") == samples.event("a")

    @pytest.mark.parametrize("date", [samples.EPOCH, samples.EXPIRY, samples.LATEST], ids=str)
    def test_any_date_of_expiry_is_the_outcomes(self, storage: Storage, date: datetime) -> None:
        """A record whose date is past may be deleted at any time."""
        event = ended("a", date)

        storage.write([event])

        assert storage.get("a") in ((event, None) if date == samples.EPOCH else (event,))
        assert storage.delete_expired(samples.LATEST, 10) in (0, 1)
        assert storage.get("a") is None

    @pytest.mark.parametrize("others", [[], ["b"]], ids=["alone", "in a batch"])
    def test_a_later_outcome_that_does_not_expire_keeps_the_record(
        self, storage: Storage, others: list[str]
    ) -> None:
        """It was delivered twice, for example, and the other run has not ended."""
        storage.write([ended("a", samples.EXPIRY)])
        started = samples.outcome(STARTED, retries=1)

        write(storage, [samples.event(task_id, outcome=started) for task_id in ("a", *others)])

        assert storage.delete_expired(samples.LATEST, 10) == 0
        assert known(storage, "a").outcome == started

    def test_an_earlier_outcome_changes_nothing_of_when_a_record_expires(
        self, storage: Storage
    ) -> None:
        storage.write([ended("a", samples.EXPIRY)])

        storage.write([samples.became("a", PENDING), samples.became("b", PENDING)])
        early = samples.stamp(SUCCESS, samples.after(-1))
        storage.write([ended("a", samples.expiry(-9), stamp=early)])

        assert storage.delete_expired(samples.expiry(-1), 10) == 0
        assert storage.delete_expired(samples.EXPIRY, 10) == 1

    def test_what_does_not_tell_an_outcome_changes_nothing_of_when_a_record_expires(
        self, storage: Storage
    ) -> None:
        storage.write([ended("a", samples.EXPIRY)])

        storage.write([samples.event("a", stored=samples.stored(), message=samples.message())])

        assert storage.delete_expired(samples.EXPIRY, 10) == 1

    def test_schedules_never_expire(self, schedule_storage: ScheduleStorage) -> None:
        storage, schedule = schedule_storage, samples.schedule("a")
        storage.schedule(schedule, samples.became(schedule.task_id, SCHEDULED))

        deleted = storage.delete_expired(samples.LATEST, 10)

        assert deleted == 0
        assert storage.get(schedule.task_id) is not None
        assert storage.next_due("shop") == schedule.due

    def test_processes_and_threads_delete_each_record_once(
        self, storage: Storage, url: str, opener: OpenStorage
    ) -> None:
        entries = (samples.entry(),)
        write(storage, [ended(f"{n}", samples.expiry(n % 7), entries=entries) for n in range(300)])

        deleted = processes.answers(
            opener, url, processes.delete_expired, *([(samples.LATEST, 20)] * 3)
        )

        assert sum(deleted) == 300
        assert storage.count(TaskQuery()) == 0

    def test_nothing_is_lost_that_is_written_while_others_delete(self, storage: Storage) -> None:
        """A record that goes on has all that came after the deletion, or is whole."""
        names = [f"{number}" for number in range(40)]
        write(storage, [ended(name, samples.EXPIRY) for name in names])
        again = [samples.became(name, STARTED, retries=1) for name in names]

        with ThreadPoolExecutor(4) as threads:
            writing = [threads.submit(storage.write, [event]) for event in again]
            deleting = [threads.submit(storage.delete_expired, samples.EXPIRY, 3) for _ in names]

        assert [each.exception() for each in writing] == [None] * 40
        assert [each.exception() for each in deleting] == [None] * 40
        for event in again:
            assert known(storage, event.task_id).outcome == event.outcome


def ended(task_id: str, expire_at: datetime, **known: Any) -> TaskRecord:
    """A task that ended, and may be deleted at *expire_at*."""
    return samples.task(task_id, name="expires", expire_at=expire_at, **known)


def expiring(storage: Storage, *numbers: int) -> None:
    """Tasks named by *numbers*, each expiring that many milliseconds after noon of that day."""
    write(storage, [ended(f"{n}", samples.expiry(n)) for n in numbers])
