"""When two namespaces may be names of one broker, and the mark by which a stamp tells one."""

from __future__ import annotations

import pytest

from fullresult.config import mark_of, may_be_one
from fullresult.record.stamps import FIRST, Clock, is_redelivery, mark_in, rank_in, worker_in


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("redis://localhost:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://localhost/0", "redis://[::1]:6379/0"),
        ("redis://db", "redis://db:6379/0"),
        ("redis://db.internal/0", "redis://10.0.0.7/0"),
        ("redis://db/0", "rediss://db:6380/0"),
        ("amqp://mq", "pyamqp://mq:5672"),
        ("amqp://mq", "amqp://mq/%2F"),
        ("amqp://mq", "amqps://mq:5671"),
        ("amqp://a;amqp://b", "amqp://b"),
        ("production", "redis://db/0"),
        ("redis://db/0", "redis://db/0"),
    ],
)
def test_these_may_be_one_broker(one: str, other: str) -> None:
    assert may_be_one(one, other)
    assert may_be_one(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("redis://localhost:6379/0", "redis://127.0.0.1:6379/5"),
        ("redis://db:6379/0", "redis://db:6380/0"),
        ("redis://db/0", "redis://db/0?global_keyprefix=shop"),
        ("amqp://mq/shop", "amqp://mq/mail"),
        ("amqp://mq", "redis://mq"),
        ("memory:////aaa", "memory:////bbb"),
    ],
)
def test_these_are_surely_two(one: str, other: str) -> None:
    assert not may_be_one(one, other)
    assert not may_be_one(other, one)


def test_a_stamp_tells_the_broker_of_the_process_that_made_it() -> None:
    mark = mark_of("redis://db/0")
    clock = Clock(mark)
    moment = clock.moment().of_worker("5f0e", "2026.1").of_delivery("s1", redelivered=True)
    stamp = FIRST.stamp("STARTED", moment)

    assert mark_in(stamp) == mark
    assert (worker_in(stamp), rank_in(stamp), is_redelivery(stamp)) == ("5f0e", "40", True)
    assert mark != mark_of("redis://db/5")


def test_a_stamp_without_a_mark_tells_none() -> None:
    """Those of earlier versions, of imports, and of a publish by a connection of its own."""
    marked = Clock(mark_of("redis://db/0"))
    for moment in (Clock().moment(), marked.moment(marked=False)):
        stamp = FIRST.stamp("PENDING", moment)

        assert mark_in(stamp) == ""
        assert len(stamp) == len(FIRST.stamp("PENDING", marked.moment()))


def test_moments_of_one_broker_differ_all_the_same() -> None:
    clock = Clock(mark_of("redis://db/0"))
    tails = [clock.moment().tail for _ in range(1_000)]

    assert len({*tails}) == len(tails)
    assert tails == sorted(tails)
