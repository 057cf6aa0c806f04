"""The suite: how many members a chord has, which run it is in, and who sends its body."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest

from fullresult.storage import CompleteChord, ResultStorage, Storage
from fullresult.testing import samples
from fullresult.testing.fixtures import Fixtures

ALL = 24
"""Members of a chord that several join at once."""
LATER = timedelta(hours=1)
BODY = '{"é": ["\\u0000", "中🎉"]}'


class Chords(Fixtures):
    @pytest.fixture
    def results(self, storage: Storage) -> ResultStorage:
        if not isinstance(storage, ResultStorage):
            pytest.skip("this storage keeps nothing for a result backend")
        return storage

    @pytest.mark.parametrize("when", [0, 2, 3])
    def test_a_chord_is_complete_once_its_size_is_known_and_so_are_its_members(
        self, results: ResultStorage, when: int
    ) -> None:
        """A size that comes after the last member makes nobody the last."""
        results.begin_chord("a", None, BODY, None)
        answers = []
        for number, member in enumerate("123"):
            if number == when:
                results.set_chord_size("a", 3, None)
            answers.append(results.join_chord("a", member, None, None))
        results.set_chord_size("a", 3, None)

        assert answers == [False, False, when < 3]

    @pytest.mark.parametrize("begins", [True, False])
    def test_a_size_that_was_noted_is_not_replaced_by_what_a_member_says(
        self, results: ResultStorage, begins: bool
    ) -> None:
        if begins:
            results.begin_chord("a", 3, BODY, samples.LATEST)
        else:
            results.set_chord_size("a", 3, samples.LATEST)

        answers = [results.join_chord("a", member, 2, samples.LATEST) for member in "112234"]

        assert answers == [False, False, False, False, True, False]

    def test_a_chord_of_which_no_size_was_noted_has_the_one_its_members_say(
        self, results: ResultStorage
    ) -> None:
        results.begin_chord("a", None, BODY, None)

        sizes: dict[str, int | None] = {"1": None, "2": 2}
        answers = [results.join_chord("a", *known, None) for known in sizes.items()]

        assert answers == [False, True]

    def test_the_greatest_size_that_is_noted_counts(self, results: ResultStorage) -> None:
        """Before Celery 5.7, a group that ends a chain in the header tells its own size as well."""
        results.begin_chord("a", None, BODY, None)
        for size in (2, 3, 3, 1):
            results.set_chord_size("a", size, None)

        assert [results.join_chord("a", member, None, None) for member in "123"] == [
            False,
            False,
            True,
        ]

    def test_what_is_added_is_waited_for_once(self, results: ResultStorage) -> None:
        results.begin_chord("a", 1, BODY, None)
        for name in ("x", "x", "y"):
            results.add_to_chord("a", name, None)

        answers = [results.join_chord("a", member, None, None) for member in "1223"]

        assert answers == [False, False, False, True]

    def test_what_is_added_before_a_size_is_known_counts_beside_it(
        self, results: ResultStorage
    ) -> None:
        results.add_to_chord("a", "x", samples.LATEST)
        results.set_chord_size("a", 1, samples.LATEST)

        assert [results.join_chord("a", member, None, None) for member in "12"] == [False, True]

    def test_a_chord_is_complete_once_whatever_is_told_later(self, results: ResultStorage) -> None:
        """A member that was delivered again adds what it had added."""
        results.begin_chord("a", 1, BODY, None)
        answers = [results.join_chord("a", "1", None, None)]
        results.add_to_chord("a", "x", None)
        results.set_chord_size("a", 3, None)

        answers += [results.join_chord("a", member, None, None) for member in "234"]

        assert answers == [True, False, False, False]

    def test_a_complete_chord_that_begins_again_is_in_its_next_run(
        self, results: ResultStorage
    ) -> None:
        """Members of the run before count no more, however late they are told again."""
        first = results.begin_chord("a", 2, BODY, None)
        told = [results.join_chord("a", member, None, None) for member in "12"]
        second = results.begin_chord("a", None, BODY, None)
        results.add_to_chord("a", "x", None)
        results.set_chord_size("a", 1, None)

        again = [results.join_chord("a", member, None, None) for member in "1234"]

        assert (first, second) == (1, 2)
        assert told == [False, True]
        assert again == [False, False, False, True]
        assert sorted(results.get_members("a")) == ["1", "2", "3", "4", "x"]

    def test_a_chord_that_is_not_complete_goes_on_with_its_run(
        self, results: ResultStorage
    ) -> None:
        runs = [results.begin_chord("a", 2, BODY, None)]
        first = results.join_chord("a", "1", None, None)
        runs += [results.begin_chord("a", size, BODY, None) for size in (None, 2)]

        assert runs == [1, 1, 1]
        assert not first
        assert results.join_chord("a", "2", None, None)

    def test_the_members_that_are_known_are_found(self, results: ResultStorage) -> None:
        for chord in ("a", "b"):
            results.join_chord(chord, f"{chord} 1 é 中", 3, None)
        results.add_to_chord("a", "x", None)

        assert sorted(results.get_members("a")) == ["a 1 é 中", "x"]
        assert results.get_members("unknown") == []

    def test_a_complete_chord_is_taken_over_by_one_until_it_is_closed(
        self, storage: Storage, results: ResultStorage
    ) -> None:
        for name, size in (("done", 1), ("open", 1), ("waiting", 2)):
            results.begin_chord(name, size, BODY, samples.LATEST)
            results.join_chord(name, "1", None, samples.LATEST, call=f"{name} 1")
        results.close_chord("done", "done 1")
        results.close_chord("open", "another call")
        take = partial(results.take_complete_chords, limit=9)

        early = take(storage.now() - LATER, "early")
        taken = take(storage.now() + LATER, "late")
        again = take(storage.now() + LATER, "later")
        results.close_chord("open", "late")
        still = take(storage.now() + LATER, "latest")
        results.close_chord("open", "latest")

        assert early == []
        assert taken == again == still == [CompleteChord("open", 1, BODY)]
        assert take(storage.now() + LATER, "last") == []

    def test_who_completed_a_chord_that_another_took_over_is_not_told_so_again(
        self, storage: Storage, results: ResultStorage
    ) -> None:
        joins = partial(results.join_chord, "a", "1", 1, None, call="x")

        answers = [joins(), joins()]
        results.take_complete_chords(storage.now() + LATER, "y", 1)

        assert answers == [True, True]
        assert not joins()

    def test_what_was_taken_over_counts_as_completed_then(
        self, storage: Storage, results: ResultStorage
    ) -> None:
        results.join_chord("a", "1", 1, None)
        results.take_complete_chords(storage.now() + LATER, "x", 1)
        before = storage.now()
        time.sleep(0.02)

        results.take_complete_chords(storage.now() + LATER, "y", 1)

        assert results.take_complete_chords(before, "z", 1) == []

    def test_a_chord_that_its_size_completes_is_taken_over(
        self, storage: Storage, results: ResultStorage
    ) -> None:
        """Nobody was the last: whoever applied it went away before he had told its size."""
        for name, begins in (("a", False), ("b", True)):
            results.begin_chord(name, None, BODY, None)
            results.join_chord(name, "1", None, None)
            if begins:
                results.begin_chord(name, 1, BODY, None)
            else:
                results.set_chord_size(name, 1, None)

        taken = results.take_complete_chords(storage.now() + LATER, "x", 9)

        assert sorted(taken) == [CompleteChord(name, 1, BODY) for name in "ab"]

    def test_no_more_are_taken_over_than_asked_for(
        self, storage: Storage, results: ResultStorage
    ) -> None:
        for name in "abc":
            results.join_chord(name, "1", 1, None)
        time.sleep(0.02)
        before = storage.now()
        time.sleep(0.02)

        taken = [results.take_complete_chords(before, "x", 2) for _ in range(3)]

        assert [len(each) for each in taken] == [2, 1, 0]
        assert {chord.chord_id for each in taken for chord in each} == {*"abc"}
        assert {chord.body for each in taken for chord in each} == {""}

    def test_threads_take_each_chord_over_once(
        self, storage: Storage, results: ResultStorage
    ) -> None:
        for number in range(8):
            results.join_chord(f"{number}", "1", 1, None)
        time.sleep(0.02)
        before = storage.now()
        time.sleep(0.02)

        with ThreadPoolExecutor(8) as threads:
            taken = threads.map(
                lambda call: results.take_complete_chords(before, call, 1), "12345678"
            )
            found = [chord.chord_id for each in taken for chord in each]

        assert len(set(found)) == len(found)

    def test_threads_that_add_members_and_tell_the_size_complete_their_chord_once(
        self, storage: Storage, results: ResultStorage
    ) -> None:
        """Each member adds one more, all but the last of them before its own end."""
        results.begin_chord("a", None, BODY, None)

        def tell(number: int) -> bool:
            if number == ALL // 2:
                results.set_chord_size("a", ALL, None)
            results.add_to_chord("a", f"+{number}", None)
            results.add_to_chord("a", f"+{number}", None)
            own = results.join_chord("a", f"{number}", None, None)
            return own or results.join_chord("a", f"{number} added", None, None)

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(tell, range(ALL)))

        assert sum(answers) == 1
        assert len(results.get_members("a")) == 3 * ALL
        taken = results.take_complete_chords(storage.now() + LATER, "x", 9)
        assert [chord.chord_id for chord in taken] == ["a"]

    @pytest.mark.parametrize("size", [1, 2, None])
    def test_the_run_of_a_chord_that_was_forgotten_is_over(
        self, storage: Storage, results: ResultStorage, size: int | None
    ) -> None:
        """Who comes late counts neither in it nor, if it was known, in the next one."""
        results.begin_chord("a", size, BODY, None)
        results.join_chord("a", "1", None, None, call="x")
        results.add_to_chord("a", "+1", None)

        results.forget_chord("a")

        late = [results.join_chord("a", member, 1, None, call="x") for member in "12"]
        results.add_to_chord("a", "+2", None)
        results.set_chord_size("a", 3, None)
        assert late == [False, False]
        assert results.take_complete_chords(storage.now() + LATER, "x", 9) == []
        assert results.begin_chord("a", 1, "next", None) == 2
        assert [results.join_chord("a", member, None, None) for member in "13"] == [False, True]
        taken = results.take_complete_chords(storage.now() + LATER, "x", 9)
        assert taken == [CompleteChord("a", 2, "next")]
