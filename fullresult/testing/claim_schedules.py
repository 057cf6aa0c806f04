"""The suite: schedules claimed by many at once, by processes that die, and against cancelling."""

from __future__ import annotations

import signal
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import methodcaller
from typing import Protocol, TypeVar

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from fullresult.record import REVOKED, SCHEDULED, STARTED
from fullresult.storage import ScheduleStorage
from fullresult.testing import processes, samples
from fullresult.testing.fixtures import ScheduleFixtures, known, thorough, with_schedules_or_skip
from fullresult.testing.processes import OpenStorage
from fullresult.testing.schedule_helpers import (
    LATER,
    cancel,
    claim,
    ids,
    keep,
    kept,
    reschedule,
)
from fullresult.testing.schedule_model import ScheduleMachine

T = TypeVar("T")
Call = Callable[[ScheduleStorage, str], bool]
"""Tries something with a schedule; True if it came off."""


ROUNDS = 20


class Barrier(Protocol):
    """A barrier of threads or of processes."""

    def wait(self) -> int: ...


class Claiming(ScheduleFixtures):
    def test_a_claim_is_dated_and_named(self, schedule_storage: ScheduleStorage) -> None:
        keep(schedule_storage, "a")

        claimed = schedule_storage.claim_due("shop", samples.after(7), "the claim", 1)

        expected = samples.schedule("a")._replace(claim="the claim", date_claimed=samples.after(7))
        assert claimed == [expected]
        assert kept(schedule_storage) == [expected]

    def test_what_is_due_now_is_claimed_and_what_is_a_millisecond_later_is_not(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, *(samples.schedule(f"{n}", samples.after(n)) for n in (2, 0, 1, -1)))

        claimed = [
            ids(claim(schedule_storage, now=samples.after(n), by=f"{n}"))
            for n in (-2, -1, 0, 0, 1, 9)
        ]

        assert claimed == [[], ["-1"], ["0"], [], ["1"], ["2"]]

    def test_the_first_due_are_claimed_first_up_to_a_limit(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        due = {"b": 5, "c": 1, "f": 3, "z": 0, "a": 4, "e": 2}
        keep(
            schedule_storage, *(samples.schedule(name, samples.after(n)) for name, n in due.items())
        )

        claimed = [
            ids(schedule_storage.claim_due("shop", samples.after(4), f"{limit}", limit))
            for limit in (2, 0, 1, 5)
        ]

        assert claimed == [["z", "c"], [], ["e"], ["f", "a"]]

    def test_what_others_bring_is_claimed_however_long_it_is_due(
        self, schedule_storage: ScheduleStorage, url: str, opener: OpenStorage
    ) -> None:
        """A sweeper that has claimed all that was due looks again for what is due earlier."""
        other = with_schedules_or_skip(opener(url))
        keep(schedule_storage, "a", "b", samples.schedule("c", LATER))
        claim(schedule_storage, now=samples.after(1))

        keep(other, samples.schedule("d", samples.EPOCH))
        other.release(["a"])
        other.reschedule("c", samples.after(-1), samples.became("task c", SCHEDULED))

        assert schedule_storage.next_due("shop") == samples.EPOCH
        assert ids(claim(schedule_storage, now=samples.after(2), by="y")) == ["d", "c", "a"]
        other.close()

    def test_other_namespaces_are_never_claimed(self, schedule_storage: ScheduleStorage) -> None:
        keep(schedule_storage, "a", samples.schedule("b", samples.EPOCH, namespace="other"))

        claimed = {
            name: ids(claim(schedule_storage, namespace=name, now=samples.LATEST))
            for name in ("", "Shop", "sho_", "none", "shop")
        }

        assert claimed == {"": [], "Shop": [], "sho_": [], "none": [], "shop": ["a"]}
        assert [each.schedule_id for each in kept(schedule_storage, claimed=False)] == ["b"]

    def test_what_is_claimed_is_not_claimed_again(self, schedule_storage: ScheduleStorage) -> None:
        keep(schedule_storage, "a", "b")
        claim(schedule_storage, "a")

        claimed = [ids(claim(schedule_storage, by=by)) for by in ("x", "x", "y")]

        assert claimed == [["b"], [], []]

    def test_as_many_as_there_are_may_be_claimed_and_marked_at_once(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        names = [f"{number:03}" for number in range(250)]
        keep(
            schedule_storage, *(samples.schedule(name, samples.after(int(name))) for name in names)
        )

        claimed = schedule_storage.claim_due("shop", samples.LATEST, "x", 100_000)
        sent = [samples.became(f"task {name}", STARTED) for name in names]
        closed = schedule_storage.mark_sent("x", names, sent)

        assert ids(claimed) == names
        assert sorted(closed) == names
        assert kept(schedule_storage) == []
        assert known(schedule_storage, "task 249").state == STARTED

    def test_threads_never_claim_a_schedule_twice(self, schedule_storage: ScheduleStorage) -> None:
        keep(schedule_storage, *(f"{number}" for number in range(120)))

        claimed = in_threads(schedule_storage, partial(claim_all, count=120), 6)

        self.check_all_claimed_once(schedule_storage, claimed, 120)

    def test_processes_never_claim_a_schedule_twice(
        self, url: str, schedule_storage: ScheduleStorage, opener: OpenStorage
    ) -> None:
        keep(schedule_storage, *(f"{number}" for number in range(200)))

        claimed = processes.answers(opener, url, claim_in_threads, (1, 200), (2, 200), (3, 200))

        self.check_all_claimed_once(schedule_storage, claimed, 200)

    @staticmethod
    def check_all_claimed_once(
        schedule_storage: ScheduleStorage, claimed: list[dict[str, str]], count: int
    ) -> None:
        """Each is kept with the claim of the caller that got it."""
        times = Counter(schedule_id for each in claimed for schedule_id in each)
        assert times == Counter({f"{number}": 1 for number in range(count)})
        together = {key: value for each in claimed for key, value in each.items()}
        assert {each.schedule_id: each.claim for each in kept(schedule_storage)} == together

    def test_of_two_threads_exactly_one_wins(self, schedule_storage: ScheduleStorage) -> None:
        tried = prepared(schedule_storage, rounds=4)

        answers = in_threads(schedule_storage, partial(try_each, tried=tried), 2)

        self.check_one_won(schedule_storage, tried, answers)

    def test_of_two_processes_exactly_one_wins(
        self, url: str, schedule_storage: ScheduleStorage, opener: OpenStorage
    ) -> None:
        tried = prepared(schedule_storage, rounds=8)

        answers = processes.answers(opener, url, try_each, (0, tried), (1, tried))

        self.check_one_won(schedule_storage, tried, answers)

    @staticmethod
    def check_one_won(
        schedule_storage: ScheduleStorage,
        tried: Sequence[tuple[str, str]],
        answers: list[list[bool]],
    ) -> None:
        """The event of a change is merged if, and only if, the change won."""
        for (race, schedule_id), *won in zip(tried, *answers, strict=True):
            assert sorted(won) == [False, True], f"{race}: {won}"
            winner = RACES[race][won.index(True)]
            expected = STATES.get(winner, SCHEDULED)
            assert known(schedule_storage, f"task {schedule_id}").state == expected, race

    def test_what_is_scheduled_and_withdrawn_at_once_is_not_kept(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        in_threads(schedule_storage, schedule_or_withdraw, 2)

        assert kept(schedule_storage) == []
        assert claim(schedule_storage) == []
        assert known(schedule_storage, "task 0").state == SCHEDULED

    def test_what_is_scheduled_twice_at_once_is_kept_once(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        in_threads(schedule_storage, schedule_the_same, 3)

        assert sorted(ids(kept(schedule_storage))) == sorted(
            f"{number}" for number in range(ROUNDS)
        )
        assert len(claim(schedule_storage)) == ROUNDS

    def test_what_a_storage_answered_survives_the_death_of_who_asked(
        self, url: str, schedule_storage: ScheduleStorage, opener: OpenStorage
    ) -> None:
        for name in ("claimed", "taken over", "cancelled"):
            keep(schedule_storage, samples.schedule(name, namespace=name))
        schedule = samples.schedule("scheduled", body=b"x" * 100_000)
        calls = [
            methodcaller("schedule", schedule, samples.scheduled(schedule)),
            methodcaller("claim_due", "claimed", samples.NOON, "x", 1),
            methodcaller("take_over", "taken over", "y", samples.NOON, instead_of=None),
            methodcaller("cancel", "cancelled", samples.became("task cancelled", REVOKED)),
        ]

        codes = processes.run(processes.call_and_die, *((opener, url, call) for call in calls))

        assert codes == [-signal.SIGKILL] * len(calls)
        left = {each.schedule_id: each.claim for each in kept(schedule_storage)}
        assert left == {"scheduled": None, "claimed": "x", "taken over": "y"}
        assert kept(schedule_storage, schedule_ids=["scheduled"]) == [schedule]
        assert known(schedule_storage, "task scheduled").state == SCHEDULED
        assert known(schedule_storage, "task cancelled").state == REVOKED

    def test_any_interleaving_keeps_count_of_every_schedule(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        """A model keeps the same count of what is kept, sent, cancelled and withdrawn."""

        class Machine(ScheduleMachine):
            def __init__(self) -> None:
                super().__init__(schedule_storage)

        run_state_machine_as_test(
            Machine,
            settings=settings(thorough, max_examples=50, stateful_step_count=40),
        )


def claim_one(storage: ScheduleStorage, schedule_id: str) -> bool:
    """Each schedule has a namespace of its own."""
    return bool(storage.claim_due(schedule_id, samples.NOON, "new", 1))


def take_over_waiting(storage: ScheduleStorage, schedule_id: str) -> bool:
    return storage.take_over(schedule_id, "newer", samples.NOON, instead_of=None) is not None


def take_over_old(storage: ScheduleStorage, schedule_id: str) -> bool:
    return storage.take_over(schedule_id, "new", samples.NOON, instead_of="old") is not None


def release_old(storage: ScheduleStorage, schedule_id: str) -> bool:
    return bool(storage.release([schedule_id], "old"))


def mark_old_sent(storage: ScheduleStorage, schedule_id: str) -> bool:
    return bool(storage.mark_sent("old", [schedule_id], []))


STATES: dict[Call, str] = {cancel: REVOKED, reschedule: STARTED}
"""The state of a task after the event of a change."""

RACES: dict[str, tuple[Call, Call]] = {
    "two claims": (claim_one, claim_one),
    "two that take over what waits": (take_over_waiting, take_over_waiting),
    "claim and take over": (claim_one, take_over_waiting),
    "cancel and claim": (cancel, claim_one),
    "put off and claim": (reschedule, claim_one),
    "cancel and take over": (cancel, take_over_waiting),
    "cancel twice": (cancel, cancel),
    "old: two that take over a claim": (take_over_old, take_over_old),
    "old: mark sent and take over": (mark_old_sent, take_over_old),
    "old: mark sent and release": (mark_old_sent, release_old),
    "old: release and take over": (release_old, take_over_old),
    "old: release twice": (release_old, release_old),
}
"""Of each two calls the first to commit wins. Some need a schedule with the claim "old"."""
RACES |= {f"{name}, turned": (b, a) for name, (a, b) in RACES.items() if a is not b}


def prepared(storage: ScheduleStorage, rounds: int) -> list[tuple[str, str]]:
    """For each round of each race its name and a schedule in a namespace of its own."""
    tried = [(race, f"{race} {number}") for number in range(rounds) for race in RACES]
    for race, schedule_id in tried:
        keep(storage, samples.schedule(schedule_id, namespace=schedule_id))
        if race.startswith("old"):
            storage.claim_due(schedule_id, samples.NOON, "old", 1)
    return tried


def try_each(
    barrier: Barrier, storage: ScheduleStorage, side: int, tried: Sequence[tuple[str, str]]
) -> list[bool]:
    """Take one side in each race, at the same time as the other side; returns which were won."""
    won = []
    for race, schedule_id in tried:
        barrier.wait()
        won.append(RACES[race][side](storage, schedule_id))
    return won


def schedule_or_withdraw(barrier: Barrier, storage: ScheduleStorage, number: int) -> None:
    for each in range(ROUNDS):
        barrier.wait()
        if (each + number) % 2:
            keep(storage, f"{each}")
        else:
            storage.withdraw(f"{each}")


def schedule_the_same(barrier: Barrier, storage: ScheduleStorage, number: int) -> None:
    for each in range(ROUNDS):
        schedule = samples.schedule(f"{each}", samples.after(-number))
        barrier.wait()
        keep(storage, schedule)


def claim_all(
    barrier: Barrier, storage: ScheduleStorage, number: int, count: int
) -> dict[str, str]:
    """Claim a few at a time until none is left; returns the claim of each schedule."""
    claimed: dict[str, str] = {}
    barrier.wait()
    for batch in range(count * 100):
        mine = storage.claim_due("shop", samples.NOON, f"{number} {batch}", 3)
        claimed |= {schedule.schedule_id: f"{number} {batch}" for schedule in mine}
        if not mine and storage.next_due("shop") is None:
            break
    return claimed


def claim_in_threads(
    barrier: Barrier, storage: ScheduleStorage, number: int, count: int
) -> dict[str, str]:
    """`claim_all` in two threads of this process."""
    barrier.wait()
    both = in_threads(storage, partial(claim_all, count=count), 2, number * 10)
    together = both[0] | both[1]
    assert len(together) == len(both[0]) + len(both[1]), "a schedule was claimed twice"
    return together


def in_threads(
    storage: ScheduleStorage, do: Callable[..., T], count: int, first: int = 0
) -> list[T]:
    """Call *do* in each of *count* threads with a barrier, the storage and a number."""
    barrier = threading.Barrier(count, timeout=processes.SECONDS)
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(partial(do, barrier, storage), range(first, first + count)))
