"""The suite: finding tasks by their arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullresult.storage import Storage, TaskQuery
from fullresult.testing import samples
from fullresult.testing.fixtures import Fixtures, ids, thorough, write

_TEXTS = (
    "",
    "1",
    "true",
    "null",
    "é中🎉",
    "É",
    "e\u0301",
    "\x7f",
    "\u2028",
    "it's",
    '"',
    "\\",
    "$",
)
_NUMBERS = (
    *(0, 1, -1, 1.0, 0.1, 0.1 + 0.2, 1e-7, 5e-324, -1e15, 2**53, 2**53 + 1, 2**63, -(2**63) - 1),
    *(10**22, 10**23, 10**34, 10**35, 10**308),
)
_LEAVES = st.sampled_from((None, True, False, *_NUMBERS, *_TEXTS, "a.b", "%s", "a\nb"))
_KEYS = st.sampled_from(
    (
        *(
            "a",
            "b",
            "$",
            "a.b",
            "0",
            "",
            "é",
            "É",
            '"',
            "\\",
            "a b",
            "'",
            "[0]",
            "\n",
            "$id",
            "$oid",
        ),
        *("$ref", "$fullresult", "$fullresult:a", "$set", "__type__"),
    )
)
_values = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_KEYS, inner, max_size=2),
    max_leaves=5,
)
_objects = st.dictionaries(_KEYS, _values, max_size=3)


@st.composite
def _parts(draw: st.DrawFn, value: Any) -> Any:
    """Something that is, or almost is, a part of *value*."""
    if draw(st.integers(0, 9)) == 0:
        return draw(_values)
    if isinstance(value, dict):
        kept = [key for key in value if draw(st.booleans())]
        return {key: draw(_parts(value[key])) for key in reversed(kept)}
    return value


def is_part(asked: Any, value: Any) -> bool:
    """The rule: a dict matches inside a dict; anything else matches what equals it."""
    if isinstance(asked, dict):
        return isinstance(value, dict) and all(
            key in value and is_part(asked[key], value[key]) for key in asked
        )
    return equals(asked, value)


def equals(a: Any, b: Any) -> bool:
    """Equality as in JSON: numbers by value, and no number is true or false."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equals, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equals(a[key], b[key]) for key in a)
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


CALLED_WITH: dict[str, Any] = {
    "order": 7,
    "float": 0.1,
    "whole": 2.0,
    "large": 12345678901234567890,
    "huge": 10**400,
    "true": True,
    "none": None,
    "text": "7",
    "quotes": 'it\'s "quoted" \\ %s ? :a',
    "unicode": "é 中 🎉",
    "empty": {},
    "list": [1, {"b": 1, "a": 2.0}, [None, "é"]],
    "many": list(range(2_000)),
    "address": {"city": "Bonn", "geo": {"lat": 50.7, "tags": ["x"]}, "$a.b": {"": 1}},
    'odd " key \\ $.[0]': {'"': 1},
    "\n": 1,
}


MATCHING: list[dict[str, Any]] = [
    {},
    {"order": 7, "text": "7"},
    {"order": 7.0},
    {"whole": 2},
    {"empty": {}},
    {"address": {}},
    {"address": {"city": "Bonn"}},
    {"address": {"geo": {"lat": 50.7}}},
    {"address": {"geo": {"tags": ["x"]}, "city": "Bonn"}},
    {"address": {"$a.b": {"": 1}}},
    {"list": [1, {"a": 2, "b": 1}, [None, "é"]]},
    {"list": (1.0, {"a": 2, "b": 1}, (None, "é"))},
]
ALMOST_MATCHING: list[dict[str, Any]] = [
    {"order": "7"},
    {"order": True},
    {"order": [7]},
    {"order": None},
    {"text": 7},
    {"true": 1},
    {"true": "true"},
    {"none": "null"},
    {"none": False},
    {"missing": None},
    {"order": 7, "text": "8"},
    {"empty": []},
    {"empty": {"a": 1}},
    {"large": 1234567890123456789},
    {"unicode": "e 中 🎉"},
    {"list": [1]},
    {"list": []},
    {"list": 1},
    {"list": {"0": 1}},
    {"list": [{"b": 1, "a": 2.0}, 1, [None, "é"]]},
    {"list": [1, {"b": 1}, [None, "é"]]},
    {"list": [1, {"b": 1, "a": 2.0, "c": None}, [None, "é"]]},
    {"many": list(range(1_999))},
    {"address": {"city": "bonn"}},
    {"address": {"geo": {"tags": "x"}}},
    {"address": {"geo": {"tags": []}}},
    {"address": {"lat": 50.7}},
    {"address.city": "Bonn"},
    {"address": {"geo.lat": 50.7}},
    {"text": {}},
    {"list": {}},
]
FIRST_ARGUMENTS: list[tuple[Sequence[Any], bool]] = [
    ([], True),
    ([1], True),
    ([1, "two"], True),
    ([1, "two", {"a": 1}], True),
    ([1, "two", {}], True),
    ((1, "two", {"c": {}}, [1, 2], None), True),
    ([1.0], True),
    (["1"], False),
    ([True], False),
    (["two"], False),
    ([1, "Two"], False),
    ([1, "two", {"a": 2}], False),
    ([1, "two", {"c": {"e": 1}}], False),
    ([1, "two", {}, [1]], False),
    ([1, "two", {}, [2, 1]], False),
    ([1, "two", {}, {}], False),
    ([1, "two", {}, [1, 2], None, None], False),
]


class Arguments(Fixtures):
    def test_each_keyword_argument_is_found_by_its_value(self, storage: Storage) -> None:
        storage.write([samples.task("a", kwargs=CALLED_WITH)])

        for key, value in CALLED_WITH.items():
            assert self.matches(storage, kwargs={key: value}), key
            assert not self.matches(storage, kwargs={key: "other"}), key
            assert not self.matches(storage, kwargs={f"{key}x": value}), key

    def test_kwargs_are_among_those_of_the_task(self, storage: Storage) -> None:
        storage.write([samples.task("a", kwargs=CALLED_WITH)])

        assert [asked for asked in MATCHING if not self.matches(storage, kwargs=asked)] == []

    def test_kwargs_that_almost_match_do_not(self, storage: Storage) -> None:
        storage.write([samples.task("a", kwargs=CALLED_WITH)])

        assert [asked for asked in ALMOST_MATCHING if self.matches(storage, kwargs=asked)] == []

    def test_args_are_the_first_of_the_task(self, storage: Storage) -> None:
        args = [1, "two", {"a": 1, "c": {"d": "é"}}, [1, 2], None]
        storage.write([samples.task("a", args=args)])

        found = [(asked, self.matches(storage, args=asked)) for asked, _ in FIRST_ARGUMENTS]

        assert found == FIRST_ARGUMENTS

    def test_a_task_whose_arguments_were_not_kept_has_none(self, storage: Storage) -> None:
        write(storage, [samples.task("a"), samples.event("b")])

        assert not self.matches(storage, kwargs={})
        assert not self.matches(storage, kwargs={"a": None})
        assert not self.matches(storage, args=[None])

    @thorough
    @given(data=st.data())
    def test_kwargs_match_by_the_rule(self, storage: Storage, data: st.DataObject) -> None:
        group, called_with = str(uuid4()), data.draw(_objects)
        asked = data.draw(_parts(called_with).filter(lambda part: isinstance(part, dict)))

        storage.write([samples.task(group, kwargs=called_with, group_id=group)])

        found = self.matches(storage, kwargs=asked, group_id=group)
        assert found == is_part(asked, called_with)

    @thorough
    @given(data=st.data())
    def test_args_match_by_the_rule(self, storage: Storage, data: st.DataObject) -> None:
        group, called_with = str(uuid4()), data.draw(st.lists(_values, max_size=2))
        asked = [data.draw(_parts(value)) for value in called_with]
        asked = asked[: data.draw(st.integers(0, 2))] + data.draw(st.lists(_values, max_size=1))

        storage.write([samples.task(group, args=called_with, group_id=group)])

        found = self.matches(storage, args=asked, group_id=group)
        expected = len(asked) <= len(called_with) and all(map(is_part, asked, called_with))
        assert found == expected

    def test_an_argument_is_found_by_its_place(self, storage: Storage) -> None:
        called = [1, {"city": "Bonn", "geo": [50, 7]}, None, "a"]
        write(storage, [samples.task("a", args=called), samples.task("none")])
        write(storage, [samples.task("short", args=[1])])
        right: list[Any] = [{1: {"city": "Bonn"}}, {"1": {}}, {2: None}, {"3": "a", 0: 1.0}]
        wrong: list[Any] = [{0: True}, {1: {"city": "Rome"}}, {4: None}, {0: 1, 3: "b"}, {1: []}]

        for asked in right:
            assert ids(storage.find(TaskQuery(args_at=asked))) == ["a"], asked
            assert storage.count(TaskQuery(args=[1], args_at=asked)) == 1, asked
        for asked in wrong:
            assert storage.count(TaskQuery(args_at=asked)) == 0, asked
        assert storage.count(TaskQuery(args_at={})) == 3

    @pytest.mark.parametrize("place", ["", "-1", -1, 1.0, True, "1.5", "²", 1000, "a"])
    def test_only_a_number_from_0_is_a_place(self, place: Any) -> None:
        with pytest.raises(ValueError, match="is no place; they are 0 to 999"):
            TaskQuery(args_at={place: 1})

    def test_what_storages_do_not_compare_alike_cannot_be_asked(self, storage: Storage) -> None:
        values = ("\x00", "\ud800", float("nan"), float("inf"), object(), 2.0**53, [{"a": -1e308}])
        for value in values:
            for query in (TaskQuery(kwargs={"a": value}), TaskQuery(args=[value])):
                with pytest.raises(ValueError, match="search"):
                    storage.find(query)

    @staticmethod
    def matches(storage: Storage, **filters: Any) -> bool:
        query = TaskQuery(**filters)
        found = storage.find(query)
        assert storage.count(query) == len(found)
        return len(found) == 1
