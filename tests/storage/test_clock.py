"""The storage's clock, asked for once in a while and counted on from there."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from fullresult.storage import StorageError
from fullresult.storage.clock import StorageClock

NOON = datetime(2024, 5, 1, 12, tzinfo=timezone.utc)
MS = timedelta(milliseconds=1)
SECOND = timedelta(seconds=1)


class Time:
    """The true time, which passes when a test says so, and a storage that tells it."""

    def __init__(self, asking: timedelta = timedelta(0)) -> None:
        self.passed = timedelta(0)
        self.asked = 0
        self.asking = asking

    def elapsed(self) -> float:
        return 1000 + self.passed.total_seconds()

    def ask(self) -> datetime:
        """The time at some moment between question and answer, cut to the millisecond."""
        self.asked += 1
        self.passed += self.asking / 2
        now = NOON + self.passed
        self.passed += self.asking / 2
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    @property
    def true(self) -> datetime:
        return NOON + self.passed

    def clock(self) -> StorageClock:
        return StorageClock(self.ask, every=30 * SECOND, elapsed=self.elapsed)


def test_it_asks_once_and_counts_on() -> None:
    time = Time()
    clock = time.clock()
    first = clock.now()

    time.passed += 12 * SECOND
    second = clock.now()

    assert second - first == 12 * SECOND
    assert time.asked == 1


def test_it_asks_again_after_a_while() -> None:
    """The two hosts' seconds are not quite as long."""
    time = Time()
    clock = time.clock()
    clock.now()

    time.passed += 31 * SECOND
    clock.now()

    assert time.asked == 2


@pytest.mark.parametrize("asking", [timedelta(0), MS, 300 * MS, 5 * SECOND])
@pytest.mark.parametrize("odd", [0, 1, 499, 999])
def test_it_is_never_behind_and_hardly_ahead(asking: timedelta, odd: int) -> None:
    """Whatever it is counted from is never due too late, and hardly looked for too early."""
    time = Time(asking)
    time.passed += timedelta(microseconds=odd)
    clock = time.clock()

    for _ in range(5):
        told = clock.now()
        assert time.true <= told <= time.true + asking + MS
        time.passed += 11 * SECOND


def test_it_is_aware_and_in_utc() -> None:
    assert Time().clock().now().utcoffset() == timedelta(0)


def test_a_storage_that_does_not_answer_is_an_error_and_asked_again() -> None:
    time, away = Time(), True

    def ask() -> datetime:
        if away:
            raise StorageError("away")
        return time.ask()

    clock = StorageClock(ask, elapsed=time.elapsed)
    with pytest.raises(StorageError):
        clock.now()

    away = False

    assert clock.now() == NOON + MS


def test_a_storage_that_went_away_is_not_missed_until_it_is_asked_again() -> None:
    time = Time()
    clock = time.clock()
    clock.now()

    time.passed += 29 * SECOND

    assert clock.now() == time.true + MS


def test_after_an_error_nothing_that_was_believed_counts() -> None:
    """Another server may be the storage now, an hour ahead or behind."""
    time = Time()
    clock = time.clock()
    clock.now()
    time.passed += 12 * SECOND

    clock.forget()
    clock.now()

    assert time.asked == 2


def test_what_is_believed_does_not_outlive_a_failed_question() -> None:
    time, away = Time(), False

    def ask() -> datetime:
        if away:
            raise StorageError("away")
        return time.ask()

    clock = StorageClock(ask, every=SECOND, elapsed=time.elapsed)
    clock.now()
    time.passed += 2 * SECOND
    away = True
    with pytest.raises(StorageError):
        clock.now()
    away = False
    time.passed -= SECOND  # as if the question had been asked in time

    clock.now()

    assert time.asked == 2
