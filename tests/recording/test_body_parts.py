"""The JSON of arguments that is cut out of a body is what they would have been encoded to."""

from __future__ import annotations

import json
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from fullresult.record import encoding
from fullresult.recording.body_parts import arguments_in_body
from fullresult.recording.message import EMBEDS, Call, serialise

NO_LINKS = dict.fromkeys(EMBEDS)
TEXTS = ("", "a", '"', "\\", '\\"', "], {", "]", "[{", "}, {", "é", "🎉", "\0", "\ud800")


def call(args: Any, kwargs: Any, embed: Any = NO_LINKS, serializer: str = "json") -> Call:
    body = (args, kwargs, embed)
    return Call(body, serialise(body, serializer), {})


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((1, "x"), {}),
        ((), {"a": {"b": [1, {"c": 2}]}}),
        ([[1, 2], {"a": "], {"}], {"b": 1}),
        (({"a": 1}, [2]), {"b": [{"c": 3}]}),
        ((Decimal("1.5"),), {"é": "🎉"}),
        (([{"id": 1}, {"id": 2}],), {"a": [[]]}),
    ],
)
def test_what_is_found_is_the_json_of_each(args: Any, kwargs: Any) -> None:
    found = arguments_in_body(call(args, kwargs))

    assert found in ({}, {"args": encoding.dumps(args), "kwargs": encoding.dumps(kwargs)})


def test_simple_arguments_are_found() -> None:
    assert arguments_in_body(call((1, "x"), {"a": [2]})) == {
        "args": '[1, "x"]',
        "kwargs": '{"a": [2]}',
    }


def test_whatever_the_arguments_nothing_wrong_is_found() -> None:
    random, found = Random(21), 0
    for _ in range(2_000):
        args, kwargs = value(random, list), value(random, dict)
        parts = arguments_in_body(call(args, kwargs))
        found += bool(parts)
        assert not parts or parts == {"args": json.dumps(args), "kwargs": json.dumps(kwargs)}

    assert found > 500


def value(random: Random, kind: type | None = None, depth: int = 0) -> Any:
    if kind is None:
        kind = random.choice((str, int, list, dict) if depth < 4 else (str, int))
    if kind is list:
        return [value(random, None, depth + 1) for _ in range(random.randrange(3))]
    if kind is dict:
        size = random.randrange(3)
        return {random.choice(TEXTS): value(random, None, depth + 1) for _ in range(size)}
    return random.choice(TEXTS) if kind is str else random.randrange(100)


@pytest.mark.parametrize(
    "other",
    [
        call((1,), {}, {**NO_LINKS, "chain": [{"task": "a"}]}),
        call((1,), {}, serializer="pickle"),
        call((1,), {})._replace(payload=None),
        Call(((1,), {}, NO_LINKS), serialise({"args": [1], "kwargs": {}}, "json"), {}),
    ],
    ids=["links", "pickle", "none", "protocol 1"],
)
def test_in_other_bodies_nothing_is_found(other: Call) -> None:
    assert arguments_in_body(other) == {}


@pytest.mark.parametrize("deep", [499, 500, 501, 700])
@pytest.mark.parametrize("text", ['"', "\\", ']]\\"]', "\\\\[["])
def test_brackets_in_texts_are_no_levels(deep: int, text: str) -> None:
    nested: Any = text
    for _ in range(deep):
        nested = [nested, text]

    reason = encoding.refused(json.dumps(nested))

    assert reason == (None if deep <= 500 else "nested more than 500 levels")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('["\\ud83c\\udf89"]', None),
        ('["\\ud83c", "\\udf89"]', "a lone surrogate"),
        ('{"\\uD800": 1}', "a lone surrogate"),
        ('["\\\\ud800"]', None),
    ],
)
def test_a_surrogate_is_alone_or_of_a_pair(text: str, reason: str | None) -> None:
    assert encoding.refused(text) == reason
