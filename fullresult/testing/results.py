"""The suite: what a storage keeps for a result backend, if it does."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest

from fullresult.record import FINISHED, SCHEDULED_SENT, STATES, TaskRecord
from fullresult.storage import GroupsStorage, ResultStorage, Storage
from fullresult.testing import processes, samples
from fullresult.testing.fixtures import Fixtures, ids, must_say_so, write
from fullresult.testing.processes import OpenStorage

CALLS: dict[str, Callable[[ResultStorage], object]] = {
    "get_results": lambda storage: storage.get_results(["a"]),
    "get_ended": lambda storage: storage.get_ended(["a"]),
    "forget": lambda storage: storage.forget("a"),
    "save_group": lambda storage: storage.save_group("a", b"", None),
    "restore_group": lambda storage: storage.restore_group("a"),
    "delete_group": lambda storage: storage.delete_group("a"),
    "begin_chord": lambda storage: storage.begin_chord("a", 2, "", None),
    "set_chord_size": lambda storage: storage.set_chord_size("a", 2, None),
    "add_to_chord": lambda storage: storage.add_to_chord("a", "b", None),
    "join_chord": lambda storage: storage.join_chord("a", "b", 2, None),
    "get_members": lambda storage: storage.get_members("a"),
    "close_chord": lambda storage: storage.close_chord("a", "b"),
    "take_complete_chords": lambda storage: storage.take_complete_chords(samples.EXPIRY, "a", 1),
    "forget_chord": lambda storage: storage.forget_chord("a"),
    "delete_expired_results": lambda storage: storage.delete_expired_results(samples.EXPIRY, 1),
}
ODD = ("1", "é 中🎉 '\"`\\ $a.b %_*?[x] {}|,/\n", "x" * 255, "  a  ", "NULL", '"a"')
"""Ids, some of which have a meaning in one database or another."""
ALL = 120
"""Members of a chord that several callers join at once."""


class Results(Fixtures):
    @pytest.fixture
    def results(self, storage: Storage) -> ResultStorage:
        if not isinstance(storage, ResultStorage):
            pytest.skip("this storage keeps nothing for a result backend")
        return storage

    def test_results_are_the_records_of_those_tasks_that_have_one(
        self, storage: Storage, results: ResultStorage
    ) -> None:
        told = {name: samples.rich(name) for name in ODD}
        told["bare"] = samples.event("bare")
        write(storage, [*told.values(), samples.task("other")])

        found = results.get_results([*told, *ODD, "unknown"])

        assert sorted(ids(found)) == sorted(told)
        for record in found:
            assert without_entries(record) == without_entries(told[record.task_id])

    def test_ended_are_those_of_which_nothing_more_is_expected(
        self, storage: Storage, results: ResultStorage
    ) -> None:
        told = [samples.task(state, state=state) for state in (*STATES, "PROGRESS")]
        told += [samples.event("bare"), *(samples.rich(name) for name in ODD)]
        told.append(samples.task("gone on", state=SCHEDULED_SENT, open=False))
        write(storage, told)

        found = results.get_ended([*STATES, "PROGRESS", "bare", "unknown", "gone on", *ODD, *ODD])

        ended = {*FINISHED, "gone on", *ODD}
        assert sorted(ids(found)) == sorted(ended)
        wanted = {event.task_id: event for event in told if event.task_id in ended}
        for record in found:
            assert without_entries(record) == without_entries(wanted[record.task_id])

    def test_ended_are_the_same_without_their_messages(
        self, storage: Storage, results: ResultStorage
    ) -> None:
        """Only the fields that every result shows are needed."""
        write(storage, [samples.event("a", outcome=samples.outcome()), samples.rich("b")])
        write(storage, [samples.task("waits", state="PENDING")])
        whole = results.get_ended(["a", "b", "waits"])

        brief = results.get_ended(["a", "b", "waits"], messages=False)

        shown = [(each.task_id, each.name, each.queue, each.parent_id) for each in brief]
        assert sorted(ids(brief)) == ["a", "b"]
        assert sorted(map(without_message, brief), key=by_id) == sorted(
            map(without_message, whole), key=by_id
        )
        assert sorted(shown)[1] == ("b", *samples.RICH_MESSAGE[1:2], "очередь", "parent")
        assert {each.group_id for each in brief} == {None, "group"}

    def test_a_result_is_there_as_soon_as_its_task_has_finished(
        self, storage: Storage, results: ResultStorage
    ) -> None:
        storage.write([samples.task("a", state="STARTED")])
        before = results.get_ended(["a"])

        storage.write([replace(samples.became("a", "SUCCESS"), stored=samples.RICH_STORED)])

        assert before == []
        assert [record.stored for record in results.get_ended(["a"])] == [samples.RICH_STORED]
        assert [record.stored for record in results.get_results(["a"])] == [samples.RICH_STORED]

    def test_any_number_of_tasks_may_be_asked_for(
        self, storage: Storage, results: ResultStorage
    ) -> None:
        write(storage, [samples.task(f"{number}") for number in range(1_000)])
        asked = [f"{number}" for number in range(70_000)]

        found = results.get_results(asked), results.get_ended(asked)

        assert sorted(ids(found[0])) == sorted(ids(found[1])) == sorted(asked[:1_000])
        assert (results.get_results([]), results.get_ended([])) == ([], [])

    def test_what_is_forgotten_is_gone_with_its_entries_and_others_stay(
        self, storage: Storage, results: ResultStorage
    ) -> None:
        write(storage, [samples.rich(name) for name in ODD])

        for name in (*ODD[1:], ODD[1], "unknown"):
            results.forget(name)
        storage.write([samples.event(ODD[1])])

        assert storage.get(ODD[0]) is not None
        assert storage.get(ODD[1]) == samples.event(ODD[1])
        assert [storage.get(name) for name in ODD[2:]] == [None] * len(ODD[2:])

    def test_a_group_is_kept_until_it_is_deleted(self, results: ResultStorage) -> None:
        values = {name: name.encode() + bytes(range(256)) for name in ODD}
        for name, value in values.items():
            results.save_group(name, value, None)

        results.delete_group("1")
        results.delete_group("unknown")

        assert {name: results.restore_group(name) for name in ODD} == {**values, "1": None}

    def test_a_group_takes_the_place_of_another(self, results: ResultStorage) -> None:
        for value in (b"1", bytes(100_000), b""):
            results.save_group("a", value, samples.EXPIRY)

        assert results.restore_group("a") == b""

    def test_many_groups_are_read_and_deleted_at_once(self, results: ResultStorage) -> None:
        if not isinstance(results, GroupsStorage):
            pytest.skip("this storage reads and deletes one group at a time")
        values = {name: name.encode() + bytes(range(256)) for name in ODD}
        for name, value in values.items():
            results.save_group(name, value, None)

        found = results.restore_groups([*ODD, "unknown"])
        results.delete_groups([*ODD[1:], "unknown"])

        assert found == values
        assert results.restore_groups(ODD) == {ODD[0]: values[ODD[0]]}
        assert results.restore_groups([]) == {}
        results.delete_groups([])

    def test_the_last_member_of_a_chord_completes_it(self, results: ResultStorage) -> None:
        answers = [results.join_chord("a", member, len(ODD), None) for member in ODD]

        assert answers == [False] * (len(ODD) - 1) + [True]

    def test_a_member_that_is_told_again_counts_once(self, results: ResultStorage) -> None:
        """It was delivered twice, and ended twice."""
        answers = [results.join_chord("a", member, 3, None) for member in "112122323123"]

        assert [number for number, answer in enumerate(answers) if answer] == [6]

    def test_a_member_beyond_the_size_of_a_chord_does_not_complete_it(
        self, results: ResultStorage
    ) -> None:
        answers = [results.join_chord("a", member, 2, None) for member in "1234"]

        assert answers == [False, True, False, False]

    def test_a_chord_of_one_is_complete_at_once(self, results: ResultStorage) -> None:
        answers = [results.join_chord("a", "1", 1, None) for _ in range(2)]

        assert answers == [True, False]

    def test_chords_are_independent(self, results: ResultStorage) -> None:
        joined = [(chord, member) for member in "12" for chord in ODD]

        answers = [results.join_chord(chord, member, 2, None) for chord, member in joined]

        assert answers == [False] * len(ODD) + [True] * len(ODD)

    def test_the_same_call_made_again_answers_the_same(self, results: ResultStorage) -> None:
        """The answer was lost, and the caller does not know it."""
        calls = [
            ("1", "x"),
            ("1", "x"),
            ("2", "y"),
            ("2", "y"),
            ("2", None),
            ("1", "x"),
            ("2", "y"),
        ]

        answers = [results.join_chord("a", member, 2, None, call=call) for member, call in calls]

        assert answers == [False, False, True, True, False, False, True]

    def test_a_chord_that_was_forgotten_is_completed_by_nobody(
        self, results: ResultStorage
    ) -> None:
        for member in "12":
            results.join_chord("a", member, 3, None)
            results.join_chord("b", member, 3, None)

        results.forget_chord("a")
        results.forget_chord("unknown")

        assert not any(results.join_chord("a", member, 3, None) for member in "1324")
        assert results.join_chord("b", "3", 3, None)
        assert results.join_chord("unknown", "1", 1, None)

    def test_threads_complete_a_chord_once(self, results: ResultStorage) -> None:
        """And never before its last member ends, however often the others are joined."""
        join = partial(results.join_chord, "a", size=ALL, expire_at=samples.EXPIRY)
        told = [f"{number % (ALL - 1)}" for number in range(2 * ALL)]

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(join, told))
            last = list(threads.map(join, ["the last"] * 8))

        assert (sum(answers), sum(last)) == (0, 1)

    def test_processes_complete_a_chord_once(
        self, url: str, results: ResultStorage, opener: OpenStorage
    ) -> None:
        """Several callers join the same members."""
        members = [f"{number}" for number in range(ALL)]
        told = [members[:80], members[40:], members[80:] + members[:40]]

        answers = processes.answers(
            opener, url, processes.join_chord, *(("a", each, ALL) for each in told)
        )

        assert sum(map(sum, answers)) == 1
        assert not any(results.join_chord("a", member, ALL, None) for member in members)

    def test_chords_and_groups_survive_the_death_of_whoever_told_of_them(
        self, url: str, results: ResultStorage, opener: OpenStorage
    ) -> None:
        codes = processes.run(
            processes.call_and_die,
            (opener, url, partial(save_group, "a", b"1")),
            (opener, url, partial(join_chord, "a", "1")),
        )

        assert codes == [-signal.SIGKILL] * 2
        assert results.restore_group("a") == b"1"
        assert results.join_chord("a", "2", 2, None)

    def test_groups_and_chords_that_expired_are_deleted(self, results: ResultStorage) -> None:
        for name, expire_at in {"a": samples.EXPIRY, "b": samples.LATEST, "c": None}.items():
            results.save_group(name, b"1", expire_at)
            results.join_chord(name, "1", 2, expire_at)

        is_more = results.delete_expired_results(samples.expiry(7_200_000), 10)

        assert not is_more
        assert [results.restore_group(name) for name in "abc"] == [None, b"1", b"1"]
        assert [results.join_chord(name, "2", 2, None) for name in "abc"] == [False, True, True]

    def test_however_many_groups_and_chords_have_expired_all_are_deleted_in_portions(
        self, results: ResultStorage
    ) -> None:
        names = [f"{number}" for number in range(5)]
        for name in names:
            results.save_group(name, b"1", samples.EXPIRY)
        for name in names[:3]:
            results.join_chord(name, "1", 2, samples.EXPIRY)

        calls = until_all_are_deleted(results, limit=2)

        assert calls <= 4
        assert [results.restore_group(name) for name in names] == [None] * 5
        assert [results.get_members(name) for name in names] == [[]] * 5

    def test_a_chord_with_many_members_is_deleted_with_all_of_them(
        self, results: ResultStorage
    ) -> None:
        for member in range(ALL):
            results.join_chord("a", f"{member}", ALL * 2, samples.EXPIRY)

        until_all_are_deleted(results, limit=1)

        assert results.get_members("a") == []
        assert not results.join_chord("a", "1", 2, None)
        assert results.join_chord("a", "2", 2, None)

    def test_nothing_is_deleted_where_the_limit_is_0(self, results: ResultStorage) -> None:
        results.join_chord("a", "1", 2, samples.EXPIRY)

        assert not results.delete_expired_results(samples.LATEST, 0)

    def test_a_chord_expires_no_earlier_than_any_of_its_members(
        self, results: ResultStorage
    ) -> None:
        day = 86_400_000
        for name, dates in {"a": (day, 0, 1), "b": (0, day, 1), "c": (0, 1, 2)}.items():
            for member, date in enumerate(dates):
                results.join_chord(name, f"{member}", 4, samples.expiry(date))

        results.delete_expired_results(samples.expiry(day // 2), 10)

        assert [results.join_chord(name, "3", 4, None) for name in "abc"] == [True, True, False]

    @pytest.mark.parametrize("call", CALLS)
    def test_a_result_storage_that_does_not_answer_is_a_storage_error(
        self, unreachable_url: str, opener: OpenStorage, call: str
    ) -> None:
        storage = opener(unreachable_url)
        if not isinstance(storage, ResultStorage):
            pytest.skip("this storage keeps nothing for a result backend")

        must_say_so(storage, CALLS[call])


def until_all_are_deleted(results: ResultStorage, limit: int) -> int:
    """Delete all groups and chords, *limit* at once; returns the number of calls."""
    calls = 1
    while results.delete_expired_results(samples.LATEST, limit):
        calls += 1
        assert calls < 100
    return calls


def by_id(record: TaskRecord) -> str:
    return record.task_id


def without_message(record: TaskRecord) -> TaskRecord:
    return replace(without_entries(record), message=None)


def without_entries(record: TaskRecord) -> TaskRecord:
    return samples.plain(replace(record, entries=()))


def save_group(group_id: str, value: bytes, storage: Storage) -> None:
    assert isinstance(storage, ResultStorage)
    storage.save_group(group_id, value, None)


def join_chord(chord_id: str, member: str, storage: Storage) -> None:
    assert isinstance(storage, ResultStorage)
    storage.join_chord(chord_id, member, 2, None)
