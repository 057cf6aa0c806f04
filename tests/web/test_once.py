"""A request that is sent twice acts once, also if both come at the same moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from fullresult.web import once
from fullresult.web.once import Once


def test_of_those_that_come_together_one_acts() -> None:
    requests, together = Once(), Barrier(8)

    def ask(_: int) -> bool:
        together.wait()
        return requests.first_time("night-1")

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(ask, range(8))) == [False] * 7 + [True]


def test_what_has_no_name_does_not_act() -> None:
    assert not Once().first_time("")


def test_what_was_not_done_may_come_again() -> None:
    requests = Once()

    assert requests.first_time("a")
    assert not requests.first_time("a")
    requests.forget("a")
    assert requests.first_time("a")


def test_only_the_last_ones_are_remembered() -> None:
    requests = Once()
    for number in range(once._REMEMBERED + 1):
        requests.first_time(str(number))

    assert requests.first_time("0")
    assert not requests.first_time(str(once._REMEMBERED))
