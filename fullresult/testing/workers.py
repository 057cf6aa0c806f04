"""The suite: workers and their heartbeats, if a storage keeps them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from fullresult.record import STARTED, SUCCESS
from fullresult.record.stamps import worker_in
from fullresult.record.worker import Worker
from fullresult.storage import Storage, StorageError, WorkerStorage
from fullresult.testing import samples
from fullresult.testing.fixtures import Fixtures, known
from fullresult.testing.processes import OpenStorage

CALLS: dict[str, Callable[[WorkerStorage], object]] = {
    "note_worker": lambda storage: storage.note_worker(worker("a")),
    "find_workers": lambda storage: storage.find_workers(),
    "forget_workers": lambda storage: storage.forget_workers(samples.NOON),
}
ODD = ("1", "é 中🎉 '\"`\\ $a.b %_*?[x] {}|,/\n", "x" * 255, "  a  ", "NULL")


def worker(worker_id: str = "a", seen: int = 0, stopped: int | None = None) -> Worker:
    """A worker seen that many milliseconds after noon."""
    return Worker(
        worker_id,
        f"w1@{worker_id}",
        samples.after(seen),
        samples.after(seen),
        samples.after(seen + 25_000),
        None if stopped is None else samples.after(stopped),
    )


class Workers(Fixtures):
    @pytest.fixture
    def alive(self, storage: Storage) -> WorkerStorage:
        if not isinstance(storage, WorkerStorage):
            pytest.skip("this storage does not keep which workers are alive")
        return storage

    def test_every_field_of_a_worker_comes_back(self, alive: WorkerStorage) -> None:
        told = [worker(name, number, stopped=number) for number, name in enumerate(ODD)]
        told += [worker("alive"), worker("far")._replace(alive_until=samples.LATEST)]

        for each in told:
            alive.note_worker(each)

        assert sorted(alive.find_workers()) == sorted(told)

    def test_there_are_no_workers_at_first(self, alive: WorkerStorage) -> None:
        assert alive.find_workers() == []

    def test_what_is_told_of_a_worker_in_any_order_and_twice_makes_one(
        self, alive: WorkerStorage
    ) -> None:
        told = [worker(seen=5), worker(seen=0, stopped=8), worker(seen=9, stopped=9)]
        merged = worker(seen=9)._replace(
            date_started=samples.after(0), date_stopped=samples.after(8)
        )

        for number, order in enumerate(itertools.permutations(told)):
            for each in (*order, order[0]):
                alive.note_worker(each._replace(worker_id=f"{number}"))

        found = alive.find_workers()
        assert len(found) == 6
        assert {each._replace(worker_id="a") for each in found} == {merged}

    def test_workers_are_forgotten_that_were_not_seen_since(self, alive: WorkerStorage) -> None:
        for seen in (0, 5, 6, 10):
            alive.note_worker(worker(f"{seen}", seen))

        alive.forget_workers(samples.after(5))
        alive.forget_workers(samples.after(5))

        assert sorted(each.worker_id for each in alive.find_workers()) == ["10", "6"]

    def test_a_worker_that_was_forgotten_may_come_back(self, alive: WorkerStorage) -> None:
        alive.note_worker(worker(seen=0, stopped=0))
        alive.forget_workers(samples.after(0))

        alive.note_worker(worker(seen=9))

        assert alive.find_workers() == [worker(seen=9)]

    def test_many_may_tell_at_once(self, alive: WorkerStorage) -> None:
        told = [worker(f"{number % 4}", number) for number in range(80)]

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(alive.note_worker, random.Random(1).sample(told, len(told))))

        found = {each.worker_id: each for each in alive.find_workers()}
        assert {name: each.date_seen for name, each in found.items()} == {
            f"{number % 4}": samples.after(number) for number in range(76, 80)
        }
        assert {each.date_started for each in found.values()} == set(map(samples.after, range(4)))

    def test_a_stamp_that_names_its_worker_counts_as_one_that_does_not(
        self, storage: Storage
    ) -> None:
        """And is read back, so that the worker of a task is known."""
        moment = samples.moment().of_worker("5f0e" * 8)
        started = samples.outcome(STARTED)
        started = started._replace(stamp=f"{started.stamp}{moment.tail[-33:]}")
        storage.write([samples.event("a", outcome=started)])
        storage.write([samples.event("b", outcome=samples.outcome(SUCCESS))])

        storage.write([samples.event("a", outcome=samples.outcome(STARTED))])
        storage.write([replace(samples.event("b"), outcome=started)])

        outcome = known(storage, "a").outcome
        assert outcome is not None
        assert worker_in(outcome.stamp) == "5f0e" * 8
        assert known(storage, "b").state == SUCCESS

    @pytest.mark.parametrize("call", CALLS)
    def test_a_storage_that_does_not_answer_of_workers_is_a_storage_error(
        self, unreachable_url: str, opener: OpenStorage, call: str
    ) -> None:
        storage = opener(unreachable_url)
        if not isinstance(storage, WorkerStorage):
            pytest.skip("this storage does not keep which workers are alive")

        with pytest.raises(StorageError, match=r"\w"):
            CALLS[call](storage)

        storage.close()

    def test_workers_are_kept_where_an_older_version_was(
        self, old_url: str, opener: OpenStorage
    ) -> None:
        storage = opener(old_url)
        if not isinstance(storage, WorkerStorage):
            pytest.skip("this storage does not keep which workers are alive")
        storage.setup()

        storage.note_worker(worker())

        assert storage.find_workers() == [worker()]
        storage.close()
