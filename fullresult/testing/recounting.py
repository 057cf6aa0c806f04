"""The suite: chords in which nothing happens, and their members that ended, if it finds them."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from fullresult.record import FAILURE, RETRY, REVOKED, STARTED, SUCCESS
from fullresult.storage import QuietChord, RecountingStorage, Storage
from fullresult.testing import samples
from fullresult.testing.fixtures import Fixtures, must_say_so, write
from fullresult.testing.processes import OpenStorage

LATER = timedelta(hours=2)
BODY = '{"é": ["\\u0000", "中🎉"]}'
CALLS: dict[str, Callable[[Any], object]] = {
    "take_quiet_chords": lambda storage: storage.take_quiet_chords(samples.EXPIRY, 1),
    "find_ended_members": lambda storage: storage.find_ended_members("a"),
}


class Recounting(Fixtures):
    @pytest.fixture
    def chords(self, storage: Storage) -> Any:
        """A `ResultStorage` that is a `RecountingStorage`."""
        if not isinstance(storage, RecountingStorage):
            pytest.skip("this storage finds no members that were not counted")
        return storage

    def test_a_chord_that_counts_nobody_is_found(self, chords: Any) -> None:
        chords.begin_chord("a", 2, BODY, samples.LATEST)

        early = taken(chords, -LATER)
        found = taken(chords)

        assert early == []
        assert found == [QuietChord("a", 1, BODY)]

    def test_a_chord_that_counts_is_found_once_it_counts_nobody_any_more(self, chords: Any) -> None:
        chords.begin_chord("a", 3, BODY, samples.LATEST)

        found = []
        for member in "12":
            chords.join_chord("a", member, None, samples.LATEST)
            found.append(taken(chords))
        found.append(taken(chords))

        assert found == [[], [], [QuietChord("a", 1, BODY)]]

    def test_a_chord_whose_size_nobody_told_is_found(self, chords: Any) -> None:
        chords.begin_chord("a", None, BODY, None)

        assert taken(chords) == [QuietChord("a", 1, BODY)]

    def test_a_chord_that_waits_for_what_was_added_is_found(self, chords: Any) -> None:
        chords.begin_chord("a", 1, BODY, None)
        chords.add_to_chord("a", "+1", None)
        chords.join_chord("a", "1", None, None)

        assert [taken(chords), taken(chords)] == [[], [QuietChord("a", 1, BODY)]]

    @pytest.mark.parametrize("closed", [False, True])
    def test_no_complete_chord_is_found(self, chords: Any, closed: bool) -> None:
        chords.begin_chord("a", 1, BODY, None)
        chords.join_chord("a", "1", None, None, call="x")
        if closed:
            chords.close_chord("a", "x")

        assert [taken(chords) for _ in range(3)] == [[], [], []]

    def test_no_chord_is_found_that_never_began(self, chords: Any) -> None:
        chords.set_chord_size("a", 3, None)
        chords.join_chord("b", "1", 3, None)

        assert [taken(chords) for _ in range(3)] == [[], [], []]

    def test_no_chord_is_found_that_was_forgotten(self, chords: Any) -> None:
        chords.begin_chord("a", 2, BODY, None)

        chords.forget_chord("a")

        assert taken(chords) == []

    def test_the_next_run_of_a_chord_is_found(self, chords: Any) -> None:
        chords.begin_chord("a", 1, "1", None)
        chords.join_chord("a", "1", None, None, call="x")
        chords.close_chord("a", "x")
        chords.begin_chord("a", 1, "2", None)

        assert taken(chords) == [QuietChord("a", 2, "2")]

    def test_a_quiet_chord_is_looked_at_ever_more_rarely(self, chords: Any) -> None:
        """Ten seconds later, then half as long again each time; after a member, from the start."""
        chords.begin_chord("a", 3, BODY, None)

        assert taken(chords)
        assert waits(chords, 5, 11)
        assert waits(chords, 11, 16)
        chords.join_chord("a", "1", None, None)
        assert not taken(chords)
        assert waits(chords, -30, 1)
        assert waits(chords, 5, 11)

    def test_each_is_looked_at_at_least_once_an_hour(self, chords: Any) -> None:
        chords.begin_chord("a", 2, BODY, None)
        for _ in range(20):
            assert taken(chords)

        assert waits(chords, 3000, 3601)

    def test_no_more_are_looked_at_than_asked_for_the_longest_quiet_first(
        self, chords: Any
    ) -> None:
        for name in "abc":
            chords.begin_chord(name, 2, BODY, None)
            time.sleep(0.02)
        before = chords.now()

        found = [[chord.chord_id for chord in chords.take_quiet_chords(before, 2)] for _ in "123"]

        assert [{*each} for each in found] == [{"a", "b"}, {"c"}, set()]

    def test_threads_take_each_chord_once(self, chords: Any) -> None:
        for number in range(24):
            chords.begin_chord(f"{number}", 2, BODY, None)
        time.sleep(0.02)
        before = chords.now()

        with ThreadPoolExecutor(8) as threads:
            each = [*threads.map(lambda _: chords.take_quiet_chords(before, 3), range(8))]
        found = [chord.chord_id for some in each for chord in some]

        assert len({*found}) == len(found)
        found += [chord.chord_id for chord in chords.take_quiet_chords(before, 24)]
        assert sorted(found) == sorted(map(str, range(24)))

    def test_the_members_that_ended_are_found(self, storage: Storage, chords: Any) -> None:
        states = (SUCCESS, FAILURE, STARTED, RETRY, REVOKED)
        for group in ("a", "é 中"):
            write(
                storage,
                [samples.task(f"{group} {s}", state=s, group_id=group) for s in states],
            )
        write(storage, [samples.task("other")])

        assert sorted(chords.find_ended_members("é 中")) == ["é 中 FAILURE", "é 中 SUCCESS"]
        assert chords.find_ended_members("unknown") == []

    @pytest.mark.parametrize("call", CALLS)
    def test_a_storage_that_does_not_answer_of_quiet_chords_is_a_storage_error(
        self, unreachable_url: str, opener: OpenStorage, call: str
    ) -> None:
        storage = opener(unreachable_url)
        if not isinstance(storage, RecountingStorage):
            pytest.skip("this storage finds no members that were not counted")

        must_say_so(storage, CALLS[call])


def taken(chords: Any, later: timedelta = LATER) -> list[QuietChord]:
    found: list[QuietChord] = chords.take_quiet_chords(chords.now() + later, 9)
    return found


def waits(chords: Any, least: float, most: float) -> bool:
    """Look after so many seconds: True if the one chord is found after *most*, and not before."""
    early = taken(chords, timedelta(seconds=least))
    return not early and len(taken(chords, timedelta(seconds=most))) == 1
