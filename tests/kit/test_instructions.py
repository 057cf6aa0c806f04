"""Instructions of our own code are counted, and they are the same each time."""

from __future__ import annotations

import sys

import pytest

from fullresult.record.stamps import Clock
from tests.kit.instructions import RELIABLE, counting


@pytest.mark.skipif(not RELIABLE, reason="this Python does not tell of all instructions")
def test_the_same_work_is_the_same_number() -> None:
    clock = Clock()
    clock.moment()
    with counting() as read:
        before = read()
        sorted(range(100))
        of_others = read()
        clock.moment()
        once = read()
        clock.moment()
        clock.moment()
        twice = read()

    assert before["instructions"] == of_others["instructions"] == 0
    assert 0 < once["instructions"] < twice["instructions"]


def test_whoever_traced_before_traces_afterwards() -> None:
    before = sys.gettrace()

    with counting():
        assert sys.gettrace() is not before

    assert sys.gettrace() is before
