"""The suite: ends of a chord's members written and counted at once, if a storage can."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest

from fullresult.record import FAILURE, STARTED, SUCCESS, Stored, TaskRecord
from fullresult.record.merging import merge
from fullresult.storage import (
    JoiningStorage,
    Refused,
    ResultStorage,
    Storage,
    TaskQuery,
)
from fullresult.testing import processes, samples
from fullresult.testing.fixtures import Fixtures, ids, known, must_say_so, write
from fullresult.testing.processes import OpenStorage

ALL = 40
"""Members of a chord that several callers join at once."""


class Joining(Fixtures):
    @pytest.fixture
    def joining(self, storage: Storage) -> JoiningStorage:
        if not isinstance(storage, JoiningStorage):
            pytest.skip("this storage has no write_and_join")
        return storage

    @pytest.fixture
    def results(self, storage: Storage) -> ResultStorage:
        assert isinstance(storage, ResultStorage)
        return storage

    def test_the_end_of_a_member_is_written_as_it_is_counted(
        self, storage: Storage, joining: JoiningStorage
    ) -> None:
        published = samples.task("a", state="PENDING")
        write(storage, [published])
        ended = replace(samples.rich("a"), message=None, published_again=None, own=None)

        lacking, complete = joining.write_and_join(ended, "chord", "a", 2, samples.EXPIRY)

        assert (list(lacking), complete) == ([], False)
        assert known(storage, "a") == samples.plain(merge(published, ended))

    def test_the_last_end_completes_a_chord_however_the_others_were_told(
        self, joining: JoiningStorage, results: ResultStorage
    ) -> None:
        first = results.join_chord("chord", "a", 3, None)

        second = joining.write_and_join(end("b"), "chord", "b", 3, None)
        again = joining.write_and_join(end("a"), "chord", "a", 3, None)
        third = joining.write_and_join(end("c"), "chord", "c", 3, None)

        assert [first, second[1], again[1], third[1]] == [False, False, False, True]
        assert not results.join_chord("chord", "c", 3, None)

    def test_an_end_answers_the_id_of_a_record_without_a_message(
        self, storage: Storage, joining: JoiningStorage
    ) -> None:
        entered = replace(end("b"), entries=(samples.entry(),))
        storage.write([samples.event("known", message=samples.message())])

        answers = [
            joining.write_and_join(event, "chord", event.task_id, 9, None)
            for event in (end("a"), entered, end("known"))
        ]

        assert [list(lacking) for lacking, _ in answers] == [["a"], ["b"], []]

    def test_the_same_end_told_again_answers_the_same(
        self, joining: JoiningStorage, results: ResultStorage
    ) -> None:
        """The answer was lost. The call may be made again in either way."""
        told = [
            joining.write_and_join(end(name), "chord", name, 2, None, call=call)[1]
            for name, call in (("a", "x"), ("a", "x"), ("b", "y"), ("b", "y"), ("b", "z"))
        ]

        again = [results.join_chord("chord", name, 2, None, call=call) for name, call in ODDLY]

        assert told == [False, False, True, True, False]
        assert again == [False, True, False]

    def test_an_end_that_cannot_be_kept_is_not_counted(
        self, storage: Storage, joining: JoiningStorage, results: ResultStorage
    ) -> None:
        """A storage keeps an odd text as it is, or refuses both the end and the member."""
        outcome = samples.outcome("FAILURE", exception_message="\x00 and \ud800")
        odd = samples.event("a", outcome=outcome)

        try:
            joining.write_and_join(odd, "chord", "a", 1, None)
        except Refused:
            assert storage.get("a") is None
            assert results.join_chord("chord", "a", 1, None)
        else:
            assert known(storage, "a") == odd
            assert not results.join_chord("chord", "a", 1, None)

    def test_who_completes_a_chord_finds_all_its_members_ended(
        self, joining: JoiningStorage, results: ResultStorage
    ) -> None:
        members = [f"{number}" for number in range(ALL)]

        def tell(member: str) -> list[str] | None:
            complete = joining.write_and_join(end(member), "chord", member, ALL, None)[1]
            return sorted(ids(results.get_ended(members))) if complete else None

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(tell, [*members, *members]))

        assert [answer for answer in answers if answer is not None] == [sorted(members)]

    def test_ends_of_one_task_and_other_events_of_it_meet_in_peace(
        self, storage: Storage, joining: JoiningStorage
    ) -> None:
        """A member is delivered twice, and a batch has events of many members."""
        members = [f"{number}" for number in range(ALL)]
        started = sorted((samples.became(each, STARTED) for each in members), key=by_id)

        def tell(number: int) -> None:
            if number % 3:
                member = members[-number]
                joining.write_and_join(end(member), "chord", member, 10 * ALL, None)
            else:
                storage.write(started)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(tell, [*range(ALL)] * 3))

        assert {each.state for each in storage.find(TaskQuery(limit=None))} == {SUCCESS, STARTED}

    def test_an_end_that_was_counted_survives_the_death_of_whoever_told_it(
        self,
        storage: Storage,
        joining: JoiningStorage,
        results: ResultStorage,
        url: str,
        opener: OpenStorage,
    ) -> None:
        assert isinstance(joining, JoiningStorage)

        codes = processes.run(processes.call_and_die, (opener, url, partial(tell_end, "a")))

        assert codes == [-signal.SIGKILL]
        assert known(storage, "a") == end("a")
        assert results.join_chord("chord", "b", 2, None)

    def test_what_successes_returned_is_found_by_id(
        self, storage: Storage, joining: JoiningStorage
    ) -> None:
        won, lost = samples.outcome(SUCCESS), samples.outcome(FAILURE)
        told, null = (
            samples.outcome(SUCCESS, result=text, result_form="json") for text in ("7", "null")
        )
        forced = samples.outcome(SUCCESS, result='{"value": "x"}', result_form="forced")
        kept = Stored(won.stamp, b"\0\xff", "application/json", "utf-8")
        write(
            storage,
            [
                samples.event("failed", outcome=lost, stored=kept._replace(stamp=lost.stamp)),
                samples.event("forced", outcome=forced),
                samples.event("nothing stored", outcome=won),
                samples.event("published", outcome=samples.outcome("PENDING")),
                samples.event("stored before", outcome=won, stored=kept._replace(stamp="0")),
                samples.event("told", outcome=told),
                samples.event("told null", outcome=null),
                samples.event("told, stored before", outcome=told, stored=kept._replace(stamp="0")),
                samples.event("told and stored", outcome=told, stored=kept),
                samples.event("won", outcome=won, stored=kept),
                samples.event("won too", outcome=won, stored=kept),
            ],
        )
        asked = {
            "failed",
            "forced",
            "nobody",
            "nothing stored",
            "published",
            "stored before",
            "won",
        }
        asked |= {"told", "told null", "told, stored before", "told and stored"}

        assert joining.get_successes(asked) == {
            "won": kept,
            "told": "7",
            "told null": "null",
            "told, stored before": "7",
            "told and stored": kept,
        }
        assert joining.get_successes([]) == {}

    def test_a_joining_storage_that_does_not_answer_is_a_storage_error(
        self, unreachable_url: str, opener: OpenStorage
    ) -> None:
        storage = opener(unreachable_url)
        if not isinstance(storage, JoiningStorage):
            pytest.skip("this storage has no write_and_join")

        must_say_so(storage, lambda it: it.write_and_join(end("a"), "chord", "a", 2, None))


ODDLY = (("a", "x"), ("b", "y"), ("b", "z"))


def end(task_id: str) -> TaskRecord:
    return samples.event(task_id, outcome=samples.outcome(SUCCESS, samples.after(9)))


def by_id(event: TaskRecord) -> str:
    return event.task_id


def tell_end(task_id: str, storage: Storage) -> None:
    assert isinstance(storage, JoiningStorage)
    storage.write_and_join(end(task_id), "chord", task_id, 2, None)
