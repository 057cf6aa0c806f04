"""The suite: the audit log, if a storage keeps one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from fullresult.record.audit import AuditEntry, AuditQuery
from fullresult.storage import AuditStorage, Storage, TaskQuery
from fullresult.testing import samples
from fullresult.testing.fixtures import Fixtures, must_say_so, write
from fullresult.testing.processes import OpenStorage

CALLS: dict[str, Callable[[AuditStorage], object]] = {
    "keep_audit": lambda storage: storage.keep_audit(entry("a")),
    "find_audit": lambda storage: storage.find_audit(AuditQuery()),
    "forget_audit": lambda storage: storage.forget_audit(samples.NOON, 1),
}
ODD = ("", "é 中🎉 '\"`\\ $a.b %_*?[x] {}|,/\n", "x" * 255, "  a  ", "NULL")
DETAILS: dict[str, Any] = {
    "$set": {"a.b": [1, 2.5, None, True]},
    "": "NUL \u0000, a lone surrogate \ud800 and 中🎉",
    "number": 12345678901234567890123,
}


def entry(entry_id: str, at: int = 0, **known: Any) -> AuditEntry:
    """An entry dated that many milliseconds after noon."""
    values: dict[str, Any] = {
        "actor": "ada",
        "action": "resend",
        "task_ids": ("a",),
        "details": {},
        "outcome": "done",
    }
    return AuditEntry(entry_id, samples.after(at), **values | known)


def found(log: AuditStorage, **asked: Any) -> list[str]:
    return [each.entry_id for each in log.find_audit(AuditQuery(**asked))]


class Auditing(Fixtures):
    @pytest.fixture
    def log(self, storage: Storage) -> AuditStorage:
        if not isinstance(storage, AuditStorage):
            pytest.skip("this storage keeps no audit log")
        return storage

    def test_every_field_of_an_entry_comes_back(self, log: AuditStorage) -> None:
        told = [
            entry(f"id {odd}", actor=odd, action=odd, task_ids=(odd, "z", "a"), outcome=odd)
            for odd in ODD
        ]
        told += [entry("details", details=DETAILS), entry("no task", task_ids=())]
        told.append(replace(entry("late"), at=samples.LATEST))

        for each in told:
            log.keep_audit(each)

        kept = {each.entry_id: each for each in log.find_audit(AuditQuery())}
        assert kept == {each.entry_id: each for each in told}

    def test_the_log_is_empty_at_first(self, log: AuditStorage) -> None:
        assert log.find_audit(AuditQuery()) == []

    def test_an_entry_that_is_kept_twice_is_one_and_stays_as_it_was(
        self, log: AuditStorage
    ) -> None:
        log.keep_audit(entry("a"))

        log.keep_audit(entry("a"))
        log.keep_audit(entry("a", 5, actor="bob", task_ids=("b",)))

        assert log.find_audit(AuditQuery()) == [entry("a")]
        assert found(log, task_id="b") == []

    def test_the_newest_entry_comes_first(self, log: AuditStorage) -> None:
        for name, at in (("a", 1), ("b", 1), ("d", 0), ("c", 2), ("B", 1)):
            log.keep_audit(entry(name, at))

        assert found(log) == ["c", "b", "a", "B", "d"]

    def test_pages_have_each_entry_once_also_while_others_are_kept(self, log: AuditStorage) -> None:
        for number in range(25):
            log.keep_audit(entry(f"{number:02}", number // 4))

        seen: list[str] = []
        after = None
        while page := log.find_audit(AuditQuery(limit=4, after=after)):
            seen += [each.entry_id for each in page]
            after = page[-1].cursor
            log.keep_audit(entry(f"new {len(seen)}", 100))

        assert seen == [f"{number:02}" for number in reversed(range(25))]

    def test_entries_are_found_by_actor_action_task_and_time(self, log: AuditStorage) -> None:
        log.keep_audit(entry("1", 1, actor="ada", action="resend", task_ids=("a", "b")))
        log.keep_audit(entry("2", 2, actor="ada", action="cancel", task_ids=("b",)))
        log.keep_audit(entry("3", 3, actor="bob", action="cancel", task_ids=()))

        assert found(log, actor="ada") == ["2", "1"]
        assert found(log, actor="ADA") == []
        assert found(log, action="cancel") == ["3", "2"]
        assert found(log, task_id="b") == ["2", "1"]
        assert found(log, task_id="a", action="resend") == ["1"]
        assert found(log, actor="bob", task_id="b") == []
        assert found(log, since=samples.after(2)) == ["3", "2"]
        assert found(log, until=samples.after(2)) == ["1"]
        assert found(log, actor="ada", limit=1) == ["2"]
        assert found(log, limit=0) == []
        assert found(log, limit=None) == ["3", "2", "1"]

    def test_an_entry_of_a_thousand_tasks_is_found_by_each(self, log: AuditStorage) -> None:
        ids = tuple(f"task {number}" for number in range(1_000))

        log.keep_audit(entry("many", task_ids=ids))

        (only,) = log.find_audit(AuditQuery(task_id="task 999"))
        assert only.task_ids == ids

    def test_entries_stay_when_records_are_deleted(
        self, storage: Storage, log: AuditStorage
    ) -> None:
        write(storage, [samples.task("a")])
        log.keep_audit(entry("1", task_ids=("a",)))

        storage.delete(TaskQuery(limit=None))

        assert found(log, task_id="a") == ["1"]

    def test_old_entries_are_deleted_the_oldest_first_up_to_a_limit(
        self, log: AuditStorage
    ) -> None:
        for number in (3, 1, 4, 0, 2):
            log.keep_audit(entry(f"{number}", number, task_ids=("a", f"task {number}")))

        deleted = [log.forget_audit(samples.after(3), limit) for limit in (0, 3, 3, 3)]

        assert deleted == [0, 3, 1, 0]
        assert found(log) == found(log, task_id="a") == ["4"]
        assert found(log, task_id="task 0") == []

    def test_many_may_keep_entries_at_once(self, log: AuditStorage) -> None:
        told = [entry(f"{number % 40}", number % 40) for number in range(80)]

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(log.keep_audit, told))

        assert found(log, limit=None) == [f"{number}" for number in reversed(range(40))]

    def test_of_many_who_keep_one_id_at_once_all_see_who_was_first(self, log: AuditStorage) -> None:
        def keep(number: int) -> str:
            log.keep_audit(entry("turn", number, actor=f"{number}", task_ids=("a", f"{number}")))
            (kept,) = log.find_audit(AuditQuery(task_id="a"))
            return kept.actor

        with ThreadPoolExecutor(8) as threads:
            seen = [*threads.map(keep, range(24))]

        (first,) = {*seen}
        assert [each for each in range(24) if found(log, task_id=f"{each}")] == [int(first)]

    @pytest.mark.parametrize("call", CALLS)
    def test_a_storage_that_does_not_answer_of_the_log_is_a_storage_error(
        self, unreachable_url: str, opener: OpenStorage, call: str
    ) -> None:
        storage = opener(unreachable_url)
        if not isinstance(storage, AuditStorage):
            pytest.skip("this storage keeps no audit log")

        must_say_so(storage, CALLS[call])

    def test_a_log_is_kept_where_an_older_version_was(
        self, old_url: str, opener: OpenStorage
    ) -> None:
        storage = opener(old_url)
        if not isinstance(storage, AuditStorage):
            pytest.skip("this storage keeps no audit log")
        storage.setup()

        storage.keep_audit(entry("a"))

        assert storage.find_audit(AuditQuery(task_id="a")) == [entry("a")]
        storage.close()
