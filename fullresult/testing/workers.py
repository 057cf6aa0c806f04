"""The suite: workers and their heartbeats, if a storage keeps them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from fullresult.record import STARTED, SUCCESS
from fullresult.record.card import Card, WorkerCard
from fullresult.record.stamps import worker_in
from fullresult.record.worker import Worker
from fullresult.storage import CardStorage, Storage, WorkerStorage
from fullresult.testing import samples
from fullresult.testing.fixtures import Fixtures, known, must_say_so
from fullresult.testing.processes import OpenStorage

CALLS: dict[str, Callable[[Any], object]] = {
    "note_worker": lambda storage: storage.note_worker(worker("a")),
    "find_workers": lambda storage: storage.find_workers(),
    "forget_workers": lambda storage: storage.forget_workers(samples.NOON),
    "note_card": lambda storage: storage.note_card(card(), "names"),
    "find_cards": lambda storage: storage.find_cards(),
    "find_names": lambda storage: storage.find_names(["n"]),
    "forget_gone": lambda storage: storage.forget_gone(samples.NOON, 9),
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


def card(worker_id: str = "a", written: int = 0, names_id: str = "n", text: str = "") -> WorkerCard:
    """A card written that many milliseconds after noon."""
    said = text or Card(queues=("celery",), host=worker_id).text
    return WorkerCard(worker_id, samples.after(written), names_id, said)


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

    @pytest.fixture
    def carded(self, storage: Storage) -> CardStorage:
        if not isinstance(storage, CardStorage):
            pytest.skip("this storage does not keep what workers say of themselves")
        return storage

    def test_every_field_of_a_card_comes_back(self, carded: CardStorage) -> None:
        told = [card(name, number, f"n{name}", name) for number, name in enumerate(ODD)]

        for each in told:
            carded.note_card(each, f"names {each.names_id}")

        assert sorted(carded.find_cards()) == sorted(told)
        assert carded.find_cards([ODD[0], "none"]) == [told[0]]
        assert carded.find_cards([]) == []
        ids = [each.names_id for each in told]
        assert carded.find_names([*ids, "none"]) == {each: f"names {each}" for each in ids}
        assert carded.find_names([]) == {}

    def test_of_two_cards_of_a_worker_the_one_written_later_is_kept(
        self, carded: CardStorage
    ) -> None:
        told = [card(written=3, names_id="x"), card(written=7, names_id="y"), card(written=5)]

        for each in (*told, *told):
            carded.note_card(each, each.names_id)

        assert carded.find_cards() == [told[1]]
        assert carded.find_names(["x", "y", "n"]) == {name: name for name in "xyn"}

    def test_of_the_workers_that_are_gone_those_seen_last_are_kept(
        self, storage: Storage, carded: CardStorage
    ) -> None:
        """With their cards; and names for a day after the last worker that knew them."""
        assert isinstance(storage, WorkerStorage)
        for number in range(6):
            storage.note_worker(worker(f"gone {number}", number, stopped=0 if number % 2 else None))
            carded.note_card(card(f"gone {number}", number, f"n{number}"), "names")
        storage.note_worker(worker("alive", 0)._replace(alive_until=samples.after(90_000_000)))
        carded.note_card(card("alive", 0, "alive"), "names")
        now = samples.after(86_400_000 + 2)

        carded.forget_gone(now, 2)
        carded.forget_gone(now, 2)

        kept = {"gone 4", "gone 5", "alive"}
        assert {each.worker_id for each in storage.find_workers()} == kept
        assert {each.worker_id for each in carded.find_cards()} == kept
        names = {"n3", "n4", "n5", "alive"}
        assert {*carded.find_names(["alive", *(f"n{n}" for n in range(6))])} == names

    def test_many_may_keep_cards_and_forget_at_once(
        self, storage: Storage, carded: CardStorage
    ) -> None:
        assert isinstance(storage, WorkerStorage)
        for number in range(20):
            storage.note_worker(worker(f"{number}", number))

        def do(number: int) -> None:
            carded.note_card(card(f"{number}", number, f"n{number % 3}"), "names")
            carded.forget_gone(samples.after(60_000), 10)

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(do, range(20)))
        carded.forget_gone(samples.after(60_000), 10)

        assert sorted(int(each.worker_id) for each in storage.find_workers()) == [*range(10, 20)]
        assert {each.worker_id for each in carded.find_cards()} <= {f"{n}" for n in range(10, 20)}

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
        if not isinstance(storage, WorkerStorage) or not hasattr(storage, call):
            pytest.skip("this storage does not keep which workers are alive")

        must_say_so(storage, CALLS[call])

    def test_workers_are_kept_where_an_older_version_was(
        self, old_url: str, opener: OpenStorage
    ) -> None:
        storage = opener(old_url)
        if not isinstance(storage, WorkerStorage):
            pytest.skip("this storage does not keep which workers are alive")
        storage.setup()

        storage.note_worker(worker())
        if isinstance(storage, CardStorage):
            storage.note_card(card(), "names")

        assert storage.find_workers() == [worker()]
        if isinstance(storage, CardStorage):
            assert storage.find_cards() == [card()]
        storage.close()
