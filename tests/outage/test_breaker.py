"""The circuit breaker: after a failure nobody waits until a probe succeeds."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from fullresult.outage.breaker import Breaker
from fullresult.storage import Refused, StorageError


class Storage:
    """Something to call: it fails while `away`, taking `cost` seconds of the clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.away = False
        self.cost = 0.0
        self.calls = 0

    def monotonic(self) -> float:
        return self.now

    def __call__(self) -> str:
        self.calls += 1
        self.now += self.cost
        if self.away:
            raise StorageError("nobody there")
        return "answer"


@pytest.fixture
def storage() -> Storage:
    return Storage()


@pytest.fixture
def breaker(storage: Storage) -> Breaker:
    return Breaker(storage.monotonic)


def test_answers_pass_while_all_is_well(breaker: Breaker, storage: Storage) -> None:
    assert breaker.call(storage, "otherwise") == "answer"


def test_after_a_failure_nobody_asks_until_a_pause_is_over(
    breaker: Breaker, storage: Storage
) -> None:
    storage.away = True

    answers = [breaker.call(storage, "otherwise") for _ in range(100)]

    assert answers == ["otherwise"] * 100
    assert storage.calls == 1


def test_a_probe_that_fails_keeps_it_open(breaker: Breaker, storage: Storage) -> None:
    storage.away = True
    breaker.call(storage, None)
    storage.now += 1.5

    breaker.call(storage, None)
    breaker.call(storage, None)

    assert storage.calls == 2


def test_a_probe_that_succeeds_closes_it(breaker: Breaker, storage: Storage) -> None:
    storage.away = True
    breaker.call(storage, None)
    storage.away = False
    storage.now += 1.5

    answers = [breaker.call(storage, "otherwise") for _ in range(3)]

    assert answers == ["answer"] * 3


def test_a_slow_failure_is_probed_rarely(breaker: Breaker, storage: Storage) -> None:
    """Waiting for a dead server takes at most a tenth of the time."""
    storage.away, storage.cost = True, 5.0
    breaker.call(storage, None)
    storage.now += 30

    breaker.call(storage, None)
    assert storage.calls == 1
    storage.now += 30
    breaker.call(storage, None)

    assert storage.calls == 2


def test_only_one_caller_probes_at_a_time(breaker: Breaker, storage: Storage) -> None:
    storage.away = True
    breaker.call(storage, None)
    storage.now += 1.5
    asked_meanwhile = []

    def probe() -> None:
        asked_meanwhile.append(breaker.call(storage, "otherwise"))
        raise StorageError("still away")

    breaker.call(probe, None)

    assert asked_meanwhile == ["otherwise"]


def test_one_line_is_logged_when_it_opens_and_one_when_it_closes(
    breaker: Breaker, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "fullresult")
    storage.away = True
    for _ in range(10):
        breaker.call(storage, None)
        storage.now += 0.4
    storage.away = False
    storage.now += 60

    breaker.call(storage, None)

    opened, closed = [record.getMessage() for record in caplog.records]
    assert "nobody there" in opened
    assert "10 events were lost" in closed


def test_a_refused_event_is_logged_and_opens_nothing(
    breaker: Breaker, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> None:
        raise Refused("no such date")

    breaker.call(refuse, None)

    assert breaker.call(storage, "otherwise") == "answer"
    assert "no such date" in caplog.text


def test_of_a_call_in_two_halves_only_the_end_says_that_all_is_well_again(
    breaker: Breaker, storage: Storage
) -> None:
    """A request can be sent to a server that will never answer."""
    storage.away = True
    breaker.call(storage, None)
    storage.now += 1.5

    finish = breaker.overlap(lambda: storage)
    assert breaker.call(storage, "otherwise") == "otherwise"
    storage.away = False
    finish()

    assert breaker.call(storage, "otherwise") == "answer"


@pytest.mark.parametrize("half", ["begin", "end"])
def test_a_call_in_two_halves_that_fails_opens_it(
    breaker: Breaker, storage: Storage, half: str
) -> None:
    def fail() -> None:
        raise StorageError("nobody there")

    def begin() -> Callable[[], None]:
        if half == "begin":
            fail()
        return fail

    breaker.overlap(begin)()

    assert breaker.call(storage, "otherwise") == "otherwise"
    assert storage.calls == 0


def test_what_is_done_between_the_two_halves_is_not_the_storages_time(
    breaker: Breaker, storage: Storage
) -> None:
    """A broker that answers late makes no probe rarer."""
    storage.cost = 0.1

    def begin() -> Callable[[], object]:
        storage()
        return storage

    finish = breaker.overlap(begin)
    storage.away = True
    storage.now += 30
    finish()
    storage.away = False
    storage.now += 2.1

    assert breaker.call(storage, "otherwise") == "answer"


def test_nothing_is_begun_while_it_is_open(breaker: Breaker, storage: Storage) -> None:
    storage.away = True
    breaker.call(storage, None)

    breaker.overlap(lambda: storage)()

    assert storage.calls == 1


def test_one_that_comes_and_goes_is_let_be_for_longer_each_time_where_somebody_watches(
    breaker: Breaker, storage: Storage
) -> None:
    breaker.watched(lambda: True, "a place")
    held = []
    for _ in range(6):
        storage.away = True
        breaker.call(storage, "otherwise")
        storage.away = False
        opened = storage.now
        while breaker.is_open:
            breaker.probe(storage)
            storage.now += 0.5
        held.append(storage.now - 0.5 - opened)
        storage.now += 1

    assert held == [0, 1, 2, 4, 8, 8]


def test_one_that_answered_for_some_time_closes_at_once(breaker: Breaker, storage: Storage) -> None:
    breaker.watched(lambda: True, "a place")
    for _ in range(3):
        storage.away = True
        breaker.call(storage, "otherwise")
        storage.away = False

        breaker.probe(storage)

        assert not breaker.is_open
        storage.now += 6


def test_while_it_is_held_open_who_must_have_an_answer_gets_it(
    breaker: Breaker, storage: Storage
) -> None:
    breaker.watched(lambda: True, "a place")
    for _ in range(2):
        storage.away = True
        breaker.call(storage, "otherwise")
        with pytest.raises(StorageError, match="a moment ago"):
            breaker.ask(storage)
        storage.away = False
        breaker.probe(storage)

    assert breaker.is_open
    assert breaker.call(storage, "otherwise") == "otherwise"
    assert breaker.ask(storage) == "answer"
