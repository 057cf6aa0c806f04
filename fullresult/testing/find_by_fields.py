"""The suite: each filter of a query, and several together."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullresult.record import STATES
from fullresult.record.states import is_open
from fullresult.storage import IndexedStorage, PrefixStorage, Storage, TaskQuery
from fullresult.testing import samples
from fullresult.testing.fixtures import Fixtures, ids, thorough, write

NAMES = (
    *("shop.pay", "shop.Pay", "shop.payment", "shopxpay", "shop.pay.card", "pay", ""),
    *("a*b", "a?b", "a[b", "a]b", "a^b", "a-b", "a!b", "a\\b", "a%b", "a_b", "a.b", "aéb", "a🎉b"),
    *("a\nb", "a(b)|c+", "$a", "^a", "{a}", "/a/"),
)
GLOBS = (
    *("shop.*", "*.pay", "*", "shop?pay", "s*p*y", "shop.[pP]ay", "shop.[!p]ay", "shop.[a-z]ay"),
    *(
        "a[*]b",
        "a[?]b",
        "a[[]b",
        "a[]]b",
        "a[^]b",
        "a[^x]b",
        "a[!^]b",
        "a[-]b",
        "a[!]]b",
        "a[]-_]b",
    ),
    *("a[b*", "[", "*[", "a\\?", "a[\\]b", "a?b", "*%*", "*_*", "*é*", "?", "??b", "a(*|c+"),
    *("$*", "^*", "{*}", "/*/", "**", "[a-c]*", "[c-a]*", "a[!b-z]b", "a[.]b", "[[.]*", "a[[:a]b"),
)
TEXTS: dict[str, list[str]] = {
    "shop": ["name"],
    "SHOP.pay": ["name"],
    "SEEN-id": ["seen-ID-1"],
    "valueerror": ["type"],
    "BROKEN": ["message"],
    "50% off": ["percent"],
    "0%": ["percent"],
    "a_b": ["underscore"],
    "\\": ["backslash"],
    "é": ["accent"],
    "É": ["capital accent"],
    "CAFÉ": [],
    "STRASSE": [],
    "straße": ["sharp s"],
    "\u212a": [],
    "'": ["quote"],
    "*": [],
    "[n]ame": [],
    "no such text": [],
}
"""The tasks that each text finds."""


class Finding(Fixtures):
    def test_everything_is_found_when_nothing_is_asked(self, storage: Storage) -> None:
        write(storage, [samples.task("a"), samples.event("b"), samples.rich("c")])

        assert sorted(ids(storage.find(TaskQuery()))) == ["a", "b", "c"]

    def test_nothing_is_found_where_nothing_is(self, storage: Storage) -> None:
        assert storage.find(TaskQuery()) == []
        assert storage.count(TaskQuery()) == 0

    def test_what_is_found_is_what_get_answers(self, storage: Storage) -> None:
        write(storage, [samples.rich("a"), samples.task("b", entries=(samples.entry(),))])

        for record in storage.find(TaskQuery()):
            assert record == storage.get(record.task_id)

    def test_ids_are_found_by_their_beginning(self, storage: Storage) -> None:
        if not isinstance(storage, PrefixStorage):
            pytest.skip("this storage finds whole ids only")
        known = ["a", "ab", "abc", "ab\U0010fffe", "abz", "ac", "é1", "é2", "%", "a%", "A"]
        write(storage, [samples.task(each) for each in known])

        for beginning in ("a", "ab", "abc", "é", "%", "a%", "A", "b", "_", "a_", "zz"):
            found = storage.ids_beginning(beginning, 100)

            assert found == sorted(each for each in known if each.startswith(beginning))
            assert storage.ids_beginning(beginning, 2) == found[:2]

    def test_it_can_say_whether_an_index_leads_to_what_is_asked(self, storage: Storage) -> None:
        if not isinstance(storage, IndexedStorage):
            pytest.skip("this storage does not say")
        asked: dict[str, Any] = {"text": "x", "queue": "x", "args": [1], "kwargs": {"x": 1}}

        answers = [storage.has_index(TaskQuery(**{name: asked[name]})) for name in asked]

        assert storage.has_index(TaskQuery())
        assert {type(answer) for answer in answers} == {bool}

    def test_exception_is_a_type_or_the_last_part_of_its_name(self, storage: Storage) -> None:
        types = ["shop.errors.Declined", "Declined", "shop.NotDeclined", "shop.x", "%", "a_b", None]
        write(
            storage,
            [
                samples.task(str(kind), exception_type=kind, state="FAILURE" if kind else "SUCCESS")
                for kind in types
            ],
        )
        answers = {
            "Declined": ["Declined", "shop.errors.Declined"],
            "errors.Declined": ["shop.errors.Declined"],
            "shop.errors.Declined": ["shop.errors.Declined"],
            "declined": [],
            "clined": [],
            "x": ["shop.x"],
            "%": ["%"],
            "_": [],
            ".*": [],
            "": [],
        }

        for asked, wanted in answers.items():
            assert self.found(storage, exception=asked) == wanted, asked
            assert storage.count(TaskQuery(exception=asked)) == len(wanted), asked

    @pytest.mark.parametrize(
        "asked", ["SUCCESS", "PENDING", "PROGRESS", ("RETRY", "FAILURE"), {"SUCCESS", "SENT"}, ()]
    )
    def test_state_is_one_or_any_of_several(
        self, storage: Storage, asked: str | Collection[str]
    ) -> None:
        states = (*STATES, "PROGRESS")
        write(storage, [samples.task(state, state=state) for state in states])

        found = self.found(storage, state=asked)

        wanted = {asked} if isinstance(asked, str) else set(asked)
        assert found == sorted(wanted & set(states))

    @pytest.mark.parametrize("asked", [("SUCCESS",), ("SUCCESS", "PROGRESS", "SENT"), ()])
    def test_not_state_is_none_of_several(self, storage: Storage, asked: Collection[str]) -> None:
        states = {*STATES, "PROGRESS"}
        write(storage, [samples.task(state, state=state) for state in states])

        assert self.found(storage, not_state=asked) == sorted(states - set(asked))

    @pytest.mark.parametrize("asked", [True, False])
    def test_open_is_whether_something_is_still_expected(
        self, storage: Storage, asked: bool
    ) -> None:
        states = (*STATES, "PROGRESS")
        write(storage, [samples.task(state, state=state) for state in states])
        write(storage, [samples.task("gone on", state="SCHEDULED_SENT", open=False)])

        found = self.found(storage, open=asked)

        expected = {state for state in states if is_open(state) is asked}
        assert found == sorted(expected | (set() if asked else {"gone on"}))

    def test_a_record_without_an_outcome_has_no_state(self, storage: Storage) -> None:
        write(storage, [samples.event("bare"), samples.event("sent", message=samples.message())])

        assert self.found(storage, state="PENDING") == []
        assert self.found(storage, not_state=("PENDING",)) == []
        assert self.found(storage, open=True) == []
        assert self.found(storage, open=False) == []

    def test_state_follows_the_merge(self, storage: Storage) -> None:
        storage.write([samples.task("a", state="PENDING")])
        storage.write([samples.event("a", outcome=samples.outcome("SUCCESS"))])
        storage.write([samples.event("a", outcome=samples.outcome("STARTED"))])

        assert self.found(storage, state="SUCCESS") == ["a"]
        assert self.found(storage, state=("PENDING", "STARTED")) == []
        assert self.found(storage, open=True) == []

    def test_a_name_without_wildcards_is_that_name(self, storage: Storage) -> None:
        write(storage, [samples.task(f"{n}", name=name) for n, name in enumerate(NAMES)])

        for number, name in enumerate(NAMES):
            if not TaskQuery(name=name).name_is_glob:
                assert self.found(storage, name=name) == [f"{number}"]

    def test_a_glob_means_what_it_means_in_fnmatch(self, storage: Storage) -> None:
        write(storage, [samples.task(f"{n}", name=name) for n, name in enumerate(NAMES)])
        write(storage, [samples.event("no name", outcome=samples.outcome())])

        found = {glob: self.names(storage, glob) for glob in GLOBS}

        assert found == {glob: set(fnmatch.filter(NAMES, glob)) for glob in GLOBS}

    @thorough
    @given(name=st.text("abB-]^!.\\é", max_size=4), glob=st.text("abB*?[]!-^.\\é", max_size=6))
    def test_any_glob_means_what_it_means_in_fnmatch(
        self, storage: Storage, name: str, glob: str
    ) -> None:
        group = str(uuid4())
        storage.write([samples.task(group, name=name, group_id=group)])

        found = storage.count(TaskQuery(name=glob, group_id=group))

        assert found == fnmatch.fnmatchcase(name, glob)

    @pytest.mark.parametrize("field", ["queue", "worker", "root_id", "group_id", "retry_of"])
    def test_what_is_told_by_a_word_is_found_by_it(self, storage: Storage, field: str) -> None:
        words = ["a", "A", "a ", "ab", "a%", "a_", "*", "é", "", "x" * 512]
        known: list[dict[str, Any]] = [{field: word} for word in words]
        write(storage, [samples.task(f"{n}", **given) for n, given in enumerate(known)])
        write(storage, [samples.task("none"), samples.event("bare")])

        for number, word in enumerate(words):
            assert self.found(storage, **{field: word}) == [f"{number}"]

    def test_ids_are_one_of_these(self, storage: Storage) -> None:
        write(storage, [samples.task(task_id) for task_id in ("a", "A", "b", "a ", "%", "x" * 512)])

        assert self.found(storage, task_ids=["a"]) == ["a"]
        assert self.found(storage, task_ids=("b", "%", "b", "unknown")) == ["%", "b"]
        assert self.found(storage, task_ids=["x" * 512], state="FAILURE") == []
        assert self.found(storage, task_ids=[]) == []

    def test_what_is_deleted_by_id_is_deleted_alone(self, storage: Storage) -> None:
        self.three(storage)

        assert storage.delete(TaskQuery(task_ids=["1", "3", "unknown"], limit=None)) == 2

        assert ids(storage.find(TaskQuery())) == ["2"]

    @pytest.mark.parametrize("at", [samples.EPOCH, samples.NOON, samples.LATEST], ids=str)
    def test_since_is_from_then_on(self, storage: Storage, at: datetime) -> None:
        self.three(storage)

        expected = {samples.EPOCH: ["1", "2", "3"], samples.NOON: ["2", "3"], samples.LATEST: ["3"]}
        assert self.found(storage, since=at) == expected[at]

    @pytest.mark.parametrize("at", [samples.EPOCH, samples.NOON, samples.LATEST], ids=str)
    def test_until_is_before_then(self, storage: Storage, at: datetime) -> None:
        self.three(storage)

        expected = {samples.EPOCH: [], samples.NOON: ["1"], samples.LATEST: ["1", "2"]}
        assert self.found(storage, until=at) == expected[at]

    def test_since_and_until_tell_milliseconds_apart(self, storage: Storage) -> None:
        write(storage, [samples.task(f"{n}", samples.after(n)) for n in range(5)])

        found = self.found(storage, since=samples.after(1), until=samples.after(3))

        assert found == ["1", "2"]

    def test_moved_before_is_up_to_then(self, storage: Storage) -> None:
        write(
            storage,
            [
                samples.task("moved", state="STARTED", stale_from=samples.after(10)),
                samples.task("due", state="PENDING", stale_from=samples.after(60_000)),
                samples.task("later", samples.after(5), state="STARTED"),
                samples.event("bare"),
            ],
        )

        assert self.found(storage, moved_before=samples.after(4)) == []
        assert self.found(storage, moved_before=samples.after(5)) == ["later"]
        assert self.found(storage, moved_before=samples.after(10)) == ["later", "moved"]
        assert self.found(storage, moved_before=samples.after(59_999)) == ["later", "moved"]
        assert self.found(storage, moved_before=samples.LATEST) == ["due", "later", "moved"]

    def test_text_is_part_of_name_id_or_exception_ascii_in_any_case(self, storage: Storage) -> None:
        known: dict[str, dict[str, Any]] = {
            "name": {"name": "Shop.PAY"},
            "seen-ID-1": {},
            "type": {"exception_type": "builtins.ValueError"},
            "message": {"exception_message": "it is broken, isnt it"},
            "percent": {"exception_message": "50% off"},
            "almost percent": {"exception_message": "500 off, 50 of 100"},
            "underscore": {"exception_message": "a_b"},
            "almost underscore": {"exception_message": "axb"},
            "backslash": {"exception_message": "C:\\temp"},
            "accent": {"exception_message": "café"},
            "capital accent": {"exception_message": "École"},
            "sharp s": {"exception_message": "Straße"},
            "kelvin": {"exception_message": "kelvin"},
            "quote": {"exception_message": "it's"},
        }
        write(storage, [samples.task(n, **{"name": "t", **given}) for n, given in known.items()])

        assert {text: self.found(storage, text=text) for text in TEXTS} == TEXTS

    def test_filters_narrow_together(self, storage: Storage) -> None:
        wanted: dict[str, Any] = {
            "state": "FAILURE",
            "name": "shop.pay",
            "queue": "q",
            "worker": "w",
            "root_id": "r",
            "group_id": "g",
            "retry_of": "o",
            "exception_message": "boom",
            "args": [1],
            "kwargs": {"order": 7},
        }
        others = {**wanted, "args": [2], "kwargs": {"order": 8}, "state": "SUCCESS"}
        write(storage, [samples.task("all", **wanted)])
        for name, value in wanted.items():
            given = others[name] if others[name] != value else "other"
            write(storage, [samples.task(f"not {name}", **{**wanted, name: given})])
        early = samples.task("early", samples.after(-1), **wanted)
        write(storage, [early, samples.task("late", samples.after(1), **wanted)])
        asked = {name: value for name, value in wanted.items() if name != "exception_message"}

        found = self.found(
            storage,
            **{**asked, "name": "shop.*"},
            text="BOOM",
            since=samples.NOON,
            until=samples.after(1),
            moved_before=samples.NOON,
            open=False,
            not_state=("SUCCESS",),
        )

        assert found == ["all"]

    @staticmethod
    def found(storage: Storage, **filters: Any) -> list[str]:
        """The ids found, sorted; `count` must agree with their number."""
        query = TaskQuery(**filters)
        found = ids(storage.find(query))
        assert storage.count(query) == len(found)
        return sorted(found)

    @staticmethod
    def names(storage: Storage, glob: str) -> set[str | None]:
        return {record.name for record in storage.find(TaskQuery(name=glob))}

    @staticmethod
    def three(storage: Storage) -> None:
        """Tasks 1, 2 and 3 of 1970, noon and 9999."""
        dates = (samples.EPOCH, samples.NOON, samples.LATEST)
        write(storage, [samples.task(f"{n}", at) for n, at in enumerate(dates, 1)])
