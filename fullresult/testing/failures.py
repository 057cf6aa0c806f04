"""The suite: failures by their group, and what is dealt with."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from fullresult.record import Decision, FailureGroup, FailureQuery, TaskRecord
from fullresult.record.resent import mark
from fullresult.storage import FailureStorage, Grouped, Storage, TaskQuery
from fullresult.testing import samples
from fullresult.testing.fixtures import Fixtures, ids, write

ODD = "é 中🎉 '\"`\\ $a.b %_*?[x] {}|,/"


def failed(task_id: str, group: str | None, at: int = 0, **known: Any) -> TaskRecord:
    """A task that failed that many milliseconds after noon."""
    when = samples.after(at)
    told = {"exception_type": "ValueError", "exception_message": "no", "fingerprint": group}
    return samples.task(task_id, when, state="FAILURE", **told | known)


def resent(record: TaskRecord, new_id: str | None = "new", at: int = 0) -> TaskRecord:
    """The event that *record* was sent again; None: that it was not, after all."""
    assert record.outcome is not None
    again = mark(record.outcome.stamp, samples.after(at), new_id)
    return samples.event(record.task_id, record.date_updated, resent=again)


def decision(group: str, status: Any = "resolved", at: int = 0, **known: Any) -> Decision:
    values: dict[str, Any] = dict.fromkeys(Decision._fields)
    values |= {"fingerprint": group, "status": status, "date_decided": samples.after(at)}
    return Decision(**values | {"actor": "ada", "note": ""} | known)


class Failures(Fixtures):
    @pytest.fixture
    def failures(self, storage: Storage) -> FailureStorage:
        if not isinstance(storage, FailureStorage):
            pytest.skip("this storage does not group failures")
        return storage

    # ---- queries, which every storage answers

    def test_a_group_has_the_failures_with_its_fingerprint(self, storage: Storage) -> None:
        write(storage, [failed("a", "1-x", 1), failed("b", "1-y", 2), failed("c", "1-x", 3)])
        write(storage, [samples.task("d"), samples.event("e")])

        assert ids(storage.find(TaskQuery(fingerprint="1-x"))) == ["c", "a"]
        assert ids(storage.find(TaskQuery(fingerprint="1-x", state="FAILURE"))) == ["c", "a"]
        assert storage.find(TaskQuery(fingerprint="1-x", state="REVOKED")) == []
        assert storage.find(TaskQuery(fingerprint="1-x", open=True)) == []
        assert storage.count(TaskQuery(fingerprint="1-y", not_state=("SUCCESS",))) == 1
        assert storage.count(TaskQuery(fingerprint=ODD)) == 0

    def test_a_group_is_read_page_by_page(self, storage: Storage) -> None:
        write(storage, [failed(f"{number}", "1-x", number) for number in range(7)])

        first = storage.find(TaskQuery(fingerprint="1-x", limit=4, order="oldest"))
        rest = TaskQuery(fingerprint="1-x", limit=4, order="oldest", after=first[-1].cursor)

        assert ids([*first, *storage.find(rest)]) == [f"{number}" for number in range(7)]

    def test_a_task_that_was_sent_again_is_dealt_with(self, storage: Storage) -> None:
        task, other = failed("a", "1-x"), failed("b", None)
        write(storage, [task, other, samples.task("c")])
        write(storage, [resent(task, ODD)])

        found = storage.get("a")
        assert found is not None
        assert (found.resent_as, found.state) == (ODD, "FAILURE")
        assert ids(storage.find(TaskQuery(unresolved=True, state="FAILURE"))) == ["b"]
        assert sorted(ids(storage.find(TaskQuery(unresolved=True)))) == ["b", "c"]
        assert ids(storage.find(TaskQuery(unresolved=False))) == ["a"]
        assert sorted(ids(storage.find(TaskQuery(state="FAILURE")))) == ["a", "b"]
        assert storage.count(TaskQuery(unresolved=True, state="FAILURE")) == 1

    def test_a_failure_after_it_was_sent_again_is_not_dealt_with(self, storage: Storage) -> None:
        task = failed("a", "1-x", 1)
        write(storage, [task])
        write(storage, [resent(task)])
        write(storage, [samples.became("a", "FAILURE", samples.after(9), fingerprint="1-x")])
        write(storage, [resent(task)])  # the same once more

        found = storage.get("a")
        assert found is not None
        assert found.resent is None
        assert ids(storage.find(TaskQuery(unresolved=True))) == ["a"]

    def test_a_mark_may_come_before_the_outcome_that_it_is_of(self, storage: Storage) -> None:
        task = failed("a", "1-x", 1)
        write(storage, [resent(task)])
        write(storage, [task])

        assert ids(storage.find(TaskQuery(unresolved=False))) == ["a"]

    def test_of_two_marks_the_last_counts(self, storage: Storage) -> None:
        task = failed("a", "1-x", 1)
        write(storage, [task])
        for new_id, at in {"b": 5, "c": 7, "z": 6}.items():
            write(storage, [resent(task, new_id, at)])

        found = storage.get("a")
        assert found is not None
        assert found.resent_as == "c"

    def test_a_mark_may_be_taken_back(self, storage: Storage) -> None:
        tasks = [failed("a", "1-x", 1), failed("b", "1-x", 2), failed("c", "1-x", 3)]
        write(storage, tasks)
        write(storage, [resent(tasks[0], "new~", 1), resent(tasks[1], "new", 1)])
        write(storage, [resent(tasks[1], None, 2), resent(tasks[2], None, 2)])

        found = storage.get("b")
        assert found is not None
        assert found.resent_as is None
        assert ids(storage.find(TaskQuery(unresolved=True))) == ["c", "b"]
        assert ids(storage.find(TaskQuery(unresolved=False))) == ["a"]

    def test_what_is_deleted_is_of_what_is_asked(self, storage: Storage) -> None:
        tasks = [failed("a", "1-x", 1), failed("b", "1-x", 2), failed("c", "1-y", 3)]
        write(storage, tasks)
        write(storage, [resent(tasks[0])])

        assert storage.delete(TaskQuery(fingerprint="1-x", unresolved=True)) == 1
        assert sorted(ids(storage.find(TaskQuery()))) == ["a", "c"]

    # ---- decisions

    def test_a_failure_before_its_group_was_resolved_is_dealt_with(
        self, storage: Storage, failures: FailureStorage
    ) -> None:
        write(storage, [failed("a", "1-x", 1), failed("b", "1-x", 5), failed("c", "1-x", 9)])
        write(storage, [failed("d", "1-y", 1), failed("e", None, 1)])
        failures.keep_decision(decision("1-x", at=5))
        failures.keep_decision(decision("1-y", "muted", at=5))

        unresolved = TaskQuery(unresolved=True, order="oldest")
        assert ids(storage.find(unresolved)) == ["d", "e", "c"]
        assert ids(storage.find(TaskQuery(unresolved=False))) == ["b", "a"]
        assert ids(storage.find(TaskQuery(unresolved=True, fingerprint="1-x"))) == ["c"]
        assert storage.count(TaskQuery(unresolved=False, state="FAILURE")) == 2

    def test_the_last_decision_counts(self, storage: Storage, failures: FailureStorage) -> None:
        write(storage, [failed("a", "1-x", 1)])
        failures.keep_decision(decision("1-x", at=5))
        failures.keep_decision(decision("1-x", "open", at=6))

        assert ids(storage.find(TaskQuery(unresolved=True))) == ["a"]

    def test_every_field_of_a_decision_comes_back(self, failures: FailureStorage) -> None:
        kept = [
            decision("1-x", at=3, release=ODD, actor=ODD, note=ODD),
            decision(ODD, "muted", until_time=samples.LATEST, until_count=12),
            decision("1-z", "open"),
        ]
        for each in kept:
            failures.keep_decision(each)

        assert sorted(failures.find_decisions()) == sorted(kept)
        assert failures.find_decisions(["1-z", "none"]) == [kept[2]]
        assert failures.find_decisions([]) == []

    # ---- groups

    def test_groups_come_by_their_last_failure(
        self, storage: Storage, failures: FailureStorage
    ) -> None:
        write(storage, [failed(f"x{number}", "1-x", number) for number in range(4)])
        write(storage, [failed("y", "1-y", 9, exception_message=ODD)])
        write(storage, [failed("no group", None, 10), samples.task("a success")])

        found = failures.find_failures(FailureQuery())

        last = failed("x3", "1-x", 3).outcome
        assert last is not None
        assert [each.fingerprint for each in found] == ["1-y", "1-x"]
        assert found[0].exception_message == ODD
        assert found[1] == FailureGroup(
            *("1-x", samples.after(0), samples.after(3), "x3", "shop.pay", "FAILURE"),
            *("ValueError", "no", last.stamp, 4, 4, None),
        )

    def test_of_two_groups_that_failed_at_once_both_are_found(
        self, storage: Storage, failures: FailureStorage
    ) -> None:
        write(storage, [failed("a", "1-x"), failed("b", "1-y"), failed("c", "1-y")])

        found = failures.find_failures(FailureQuery())

        assert [(each.fingerprint, each.newest_id) for each in found] == [
            ("1-x", "a"),
            ("1-y", "c"),
        ]

    def test_what_is_dealt_with_is_counted_apart(
        self, storage: Storage, failures: FailureStorage
    ) -> None:
        tasks = [failed(f"{number}", "1-x", number) for number in range(6)]
        write(storage, [*tasks, failed("y", "1-y")])
        write(storage, [resent(tasks[0]), resent(tasks[5]), resent(tasks[4], None)])
        failures.keep_decision(decision("1-x", at=2))

        counts = {
            each.fingerprint: (each.number, each.unresolved, each.decision)
            for each in failures.find_failures(FailureQuery())
        }

        assert counts == {"1-x": (6, 2, decision("1-x", at=2)), "1-y": (1, 1, None)}

    def test_each_of_many_groups_has_its_own_counts(
        self, storage: Storage, failures: FailureStorage
    ) -> None:
        """Group n has n + 1 failures; every fifth was sent again, every seventh group resolved."""
        tasks = [
            failed(f"{group}-{n}", f"1-{group:03}", 100 * group + n)
            for group in range(45)
            for n in range(group + 1)
        ]
        write(storage, tasks)
        write(storage, [resent(task) for task in tasks if int(task.task_id.split("-")[1]) % 5 == 0])
        for group in range(0, 45, 7):
            failures.keep_decision(decision(f"1-{group:03}", at=100 * group + 2))

        found = failures.find_failures(FailureQuery(most=30, limit=44))

        expected = {}
        for group in range(1, 45):
            counted = range(max(group + 1 - 30, 0), group + 1)
            left = [n for n in counted if n % 5 and (group % 7 or n > 2)]
            expected[f"1-{group:03}"] = (len(counted), len(left))
        assert {each.fingerprint: (each.number, each.unresolved) for each in found} == expected
        assert [each.fingerprint for each in found] == sorted(expected, reverse=True)

    def test_only_what_failed_since_is_counted(
        self, storage: Storage, failures: FailureStorage
    ) -> None:
        write(storage, [failed(f"{number}", "1-x", number) for number in range(6)])
        write(storage, [failed("y", "1-y", 1)])

        found = failures.find_failures(FailureQuery(since=samples.after(4)))

        assert [(each.fingerprint, each.number) for each in found] == [("1-x", 2)]
        assert found[0].date_first == samples.after(0)

    def test_one_group_may_be_asked_for(self, storage: Storage, failures: FailureStorage) -> None:
        write(storage, [failed("a", "1-x"), failed("b", "1-y"), failed("c", "1-z")])

        assert [f.newest_id for f in failures.find_failures(FailureQuery(fingerprint="1-y"))] == [
            "b"
        ]
        assert failures.find_failures(FailureQuery(fingerprint=ODD)) == []

    def test_counts_and_groups_have_bounds(
        self, storage: Storage, failures: FailureStorage
    ) -> None:
        write(storage, [failed(f"{n}", f"1-{n % 3}", n) for n in range(12)])

        found = failures.find_failures(FailureQuery(most=2, limit=2))

        assert [(each.fingerprint, each.number) for each in found] == [("1-2", 2), ("1-1", 2)]
        assert failures.find_failures(FailureQuery(limit=0)) == []

    def test_a_success_later_takes_a_task_out_of_its_group(
        self, storage: Storage, failures: FailureStorage
    ) -> None:
        write(storage, [failed("a", "1-x"), failed("b", "1-x")])
        write(storage, [samples.became("a", "SUCCESS", samples.after(5))])

        (found,) = failures.find_failures(FailureQuery())

        assert (found.newest_id, found.number) == ("b", 1)
        assert ids(storage.find(TaskQuery(fingerprint="1-x"))) == ["b"]

    # ---- failures that were recorded without a fingerprint

    def test_old_records_get_a_fingerprint_once(
        self, storage: Storage, failures: FailureStorage
    ) -> None:
        tasks = [failed("a", None, 1), failed(ODD, None, 2), failed("has one", "1-y")]
        write(storage, tasks)
        grouped = [_grouped(task, "1-x") for task in [*tasks, failed("unknown", None)]]
        changed = Grouped("a", samples.stamp("FAILURE", _much_later()), "1-z")

        assert failures.set_fingerprints([]) == 0
        assert failures.set_fingerprints([changed]) == 0
        assert failures.set_fingerprints(grouped) == 2
        assert failures.set_fingerprints(grouped) == 0
        assert ids(storage.find(TaskQuery(fingerprint="1-x"))) == [ODD, "a"]


def _grouped(task: TaskRecord, group: str) -> Grouped:
    assert task.outcome is not None
    return Grouped(task.task_id, task.outcome.stamp, group)


def _much_later() -> datetime:
    return samples.after(9_999)
