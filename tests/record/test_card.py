"""A worker's card is read whatever is in it: another version, or a hand, may have written it."""

from __future__ import annotations

import pytest

from fullresult.record.card import Card, options_in

FULL = Card(
    queues=("celery", "mail"),
    pool="prefork",
    processes=4,
    prefetch=16,
    acks_late=True,
    accept_content=("json",),
    time_limit=30.0,
    visibility_timeout=3600.0,
    namespace="redis://host/0",
    versions={"celery": "5.7.0"},
    host="web-1",
    pid=7,
    release="r1",
    sweeps=True,
    clock_ahead=-1.5,
)


@pytest.mark.parametrize("card", [FULL, Card()])
def test_a_card_is_read_as_it_was_written(card: Card) -> None:
    assert Card.of(card.text) == card


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "[" * 100_000,
        '{"queues": 5, "accept_content": "json", "pool": null, "pid": true}',
        '{"versions": null, "clock_ahead": "fast", "sweeps": "yes", "new": 1}',
        '{"visibility_timeout": Infinity, "time_limit": 1e300}',
    ],
)
def test_what_is_no_card_is_an_empty_one(text: str) -> None:
    assert Card.of(text) == Card()


def test_one_wrong_value_leaves_the_others() -> None:
    assert Card.of('{"queues": ["a", 5], "pid": "x", "host": "h"}') == Card(queues=("a",), host="h")


def test_a_list_of_names_that_is_none_has_no_names() -> None:
    assert options_in('{"shop.bezahlt_ä": {"acks_late": true}, "b": 5}') == {
        "shop.bezahlt_ä": {"acks_late": True}
    }
    for text in ("", "[]", "[" * 100_000):
        assert options_in(text) == {}
