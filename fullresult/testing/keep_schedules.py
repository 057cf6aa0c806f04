"""The suite: schedules kept and withdrawn, and that they are not lost by an upgrade."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from fullresult.record import REVOKED, SCHEDULED, STARTED, SUCCESS
from fullresult.record.merging import merge
from fullresult.record.schedule import ScheduleQuery
from fullresult.storage import Storage, StorageError, TaskQuery, Uncertain
from fullresult.testing import samples
from fullresult.testing.fixtures import Fixtures, known
from fullresult.testing.processes import OpenStorage
from fullresult.testing.schedule_helpers import (
    IMPOSSIBLE,
    LATER,
    cancel,
    check_gone,
    claim,
    is_refused,
    keep,
    kept,
    reschedule,
    take_over,
)
from fullresult.testing.write_and_get import ODD_IDS, ODD_TEXTS

CALLS: dict[str, Callable[[Storage], object]] = {
    "schedule": lambda storage: keep(storage, "a"),
    "withdraw": lambda storage: storage.withdraw("a"),
    "claim_due": lambda storage: storage.claim_due("shop", samples.NOON, "x", 1),
    "mark_sent": lambda storage: storage.mark_sent("x", ["a"], [samples.task("task a")]),
    "mark_problem": lambda storage: storage.mark_problem("x", "a", "lost"),
    "release": lambda storage: storage.release(["a"]),
    "take_over": lambda storage: take_over(storage, "a"),
    "cancel": lambda storage: cancel(storage, "a"),
    "reschedule": lambda storage: reschedule(storage, "a"),
    "next_due": lambda storage: storage.next_due("shop"),
    "find_schedules": lambda storage: storage.find_schedules(ScheduleQuery()),
    "count_schedules": lambda storage: storage.count_schedules(ScheduleQuery()),
    "note_sweep": lambda storage: storage.note_sweep("shop", samples.NOON),
    "last_sweep": lambda storage: storage.last_sweep("shop"),
}


class Scheduling(Fixtures):
    def test_every_field_of_a_schedule_comes_back(self, storage: Storage) -> None:
        keep(storage, samples.RICH_SCHEDULE)

        assert kept(storage) == [samples.RICH_SCHEDULE]

    def test_every_field_of_a_claimed_schedule_comes_back(self, storage: Storage) -> None:
        keep(storage, samples.RICH_SCHEDULE)
        namespace = samples.RICH_SCHEDULE.namespace

        claimed = storage.claim_due(namespace, samples.LATEST, "клейм", 1)
        schedule_id = samples.RICH_SCHEDULE.schedule_id
        storage.mark_problem("клейм", schedule_id, "the bröker's gone\n")

        expected = samples.RICH_SCHEDULE._replace(claim="клейм", date_claimed=samples.LATEST)
        assert claimed == [expected]
        assert kept(storage) == [expected._replace(problem="the bröker's gone\n")]

    @pytest.mark.parametrize("field", ["name", "queue", "new_task_id"])
    def test_a_field_of_a_schedule_may_be_none(self, storage: Storage, field: str) -> None:
        nothing: dict[str, Any] = {field: None}
        schedule = samples.RICH_SCHEDULE._replace(**nothing)

        keep(storage, schedule)

        assert kept(storage) == [schedule]

    @pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS)
    def test_any_text_in_a_schedule_comes_back(self, storage: Storage, text: str) -> None:
        short = text if len(text) < 1000 else "short"
        schedule = samples.schedule(
            "a", name=short, queue=short, namespace=short, headers=text, how=text
        )
        keep(storage, schedule)

        claimed = storage.claim_due(short, samples.NOON, short, 1)
        storage.mark_problem(short, "a", text)

        expected = schedule._replace(claim=short, date_claimed=samples.NOON)
        assert claimed == [expected]
        assert kept(storage) == [expected._replace(problem=text)]

    @pytest.mark.parametrize("odd", ODD_IDS.values(), ids=ODD_IDS)
    def test_any_id_of_a_schedule_is_told_apart(self, storage: Storage, odd: str) -> None:
        others = {odd[:-1] + "~", f"{odd} "}
        for each in (odd, *others):
            keep(storage, samples.schedule(each, task_id=odd, new_task_id=odd))

        cancelled = storage.cancel(odd, samples.became(odd, REVOKED))

        assert cancelled
        assert {schedule.schedule_id for schedule in kept(storage)} == others
        assert {schedule.task_id for schedule in kept(storage)} == {odd}
        assert {schedule.new_task_id for schedule in kept(storage)} == {odd}

    @pytest.mark.parametrize("size", [0, 1, 1_000_000])
    def test_the_body_of_a_schedule_is_kept_byte_for_byte(
        self, storage: Storage, size: int
    ) -> None:
        body = (bytes(range(256)) * (size // 256 + 1))[:size]
        keep(storage, samples.schedule("a", body=body))

        (claimed,) = storage.claim_due("shop", samples.NOON, "x", 1)

        assert claimed.body == body
        assert type(claimed.body) is bytes
        assert kept(storage) == [claimed]

    @pytest.mark.parametrize(
        "date",
        [samples.EPOCH, samples.LATEST, samples.after(1), samples.after(999), samples.NOON],
        ids=str,
    )
    def test_any_date_of_a_schedule_comes_back(self, storage: Storage, date: datetime) -> None:
        schedule = samples.schedule("a", date, date_scheduled=date)
        keep(storage, schedule)

        next_due = storage.next_due("shop")
        (claimed,) = storage.claim_due("shop", date, "x", 1)

        assert next_due == date
        assert claimed == schedule._replace(claim="x", date_claimed=date)
        dates = [claimed.due, claimed.date_scheduled, claimed.date_claimed, next_due]
        assert {each.utcoffset() for each in dates if each} == {timedelta(0)}
        assert kept(storage) == [claimed]

    def test_the_event_is_merged_with_its_schedule(self, storage: Storage) -> None:
        storage.write([samples.became("task a", SUCCESS)])
        schedule = samples.schedule("a")

        storage.schedule(schedule, samples.scheduled(schedule, queue="q"))

        expected = merge(samples.became("task a", SUCCESS), samples.scheduled(schedule, queue="q"))
        assert known(storage, "task a") == expected
        assert kept(storage) == [schedule]

    def test_all_of_an_event_is_merged_with_its_schedule(self, storage: Storage) -> None:
        storage.schedule(samples.schedule("a"), samples.rich("task a"))

        assert known(storage, "task a") == samples.plain(samples.rich("task a"))

    def test_a_schedule_with_an_event_that_cannot_be_kept_is_not_kept(
        self, storage: Storage
    ) -> None:
        """A storage keeps both exactly or refuses both."""
        event = samples.became("task a", SCHEDULED, exception_message=IMPOSSIBLE)

        refused = is_refused(lambda: storage.schedule(samples.schedule("a"), event))

        assert (storage.get("task a") is None) is refused
        assert (kept(storage) == []) is refused

    def test_the_event_of_a_schedule_that_cannot_be_kept_is_not_merged(
        self, storage: Storage
    ) -> None:
        """A storage keeps both exactly or refuses both."""
        schedule = samples.schedule("a", headers=IMPOSSIBLE)

        refused = is_refused(lambda: keep(storage, schedule))

        assert (storage.get("task a") is None) is refused
        assert kept(storage) == ([] if refused else [schedule])

    def test_no_schedule_is_seen_without_its_event(self, storage: Storage) -> None:
        schedules = [samples.schedule(f"{number}") for number in range(60)]

        with ThreadPoolExecutor(1) as thread:
            keeping = thread.submit(keep, storage, *schedules)
            while not keeping.done():
                for schedule in kept(storage):
                    assert known(storage, schedule.task_id).state == SCHEDULED

        assert keeping.exception() is None
        assert len(kept(storage)) == 60

    def test_a_schedule_that_is_kept_already_stays_as_it_is(self, storage: Storage) -> None:
        keep(storage, "a")
        other = samples.RICH_SCHEDULE._replace(schedule_id="a")

        storage.schedule(other, samples.became("task a", STARTED))

        assert kept(storage) == [samples.schedule("a")]
        assert known(storage, "task a").state == STARTED

    def test_a_schedule_that_is_claimed_already_stays_claimed(self, storage: Storage) -> None:
        keep(storage, "a")
        claimed = claim(storage, "a")

        storage.schedule(samples.schedule("a", LATER), samples.became("task a", STARTED))

        assert kept(storage) == claimed
        assert known(storage, "task a").state == STARTED

    def test_a_schedule_that_was_withdrawn_before_it_came_is_not_kept(
        self, storage: Storage
    ) -> None:
        storage.withdraw("a")

        keep(storage, "a", "b")

        assert kept(storage) == [samples.schedule("b")]
        assert known(storage, "task a").state == SCHEDULED

    def test_a_schedule_that_was_withdrawn_is_not_kept_when_it_comes_again(
        self, storage: Storage
    ) -> None:
        keep(storage, "a")
        storage.withdraw("a")

        storage.schedule(samples.schedule("a"), samples.became("task a", STARTED))

        assert kept(storage) == []
        assert known(storage, "task a").state == STARTED

    @pytest.mark.parametrize("is_kept", [True, False])
    def test_a_withdrawn_schedule_is_gone_for_all_methods(
        self, storage: Storage, is_kept: bool
    ) -> None:
        if is_kept:
            keep(storage, "a")

        storage.withdraw("a")
        storage.withdraw("a")

        check_gone(storage, "a")

    def test_to_withdraw_one_leaves_the_others(self, storage: Storage) -> None:
        keep(storage, "a", samples.schedule("b", task_id="task a"))

        storage.withdraw("a")

        assert kept(storage) == [samples.schedule("b", task_id="task a")]
        assert known(storage, "task a").state == SCHEDULED

    def test_a_claimed_schedule_stays_when_it_is_withdrawn(self, storage: Storage) -> None:
        keep(storage, "a")
        claimed = claim(storage, "a")

        storage.withdraw("a")

        assert kept(storage) == claimed
        assert list(storage.mark_sent("x", ["a"], [])) == ["a"]

    def test_schedules_stay_when_their_records_are_deleted(self, storage: Storage) -> None:
        keep(storage, "a", "b")
        claim(storage, "a")

        storage.delete(TaskQuery(limit=None))

        assert [schedule.schedule_id for schedule in kept(storage)] == ["a", "b"]

    @pytest.mark.parametrize("call", CALLS)
    def test_schedules_of_a_storage_that_does_not_answer_are_a_storage_error(
        self, unreachable_url: str, opener: OpenStorage, call: str
    ) -> None:
        """Not `Uncertain`: nothing can have been kept."""
        storage = opener(unreachable_url)

        with pytest.raises(StorageError, match=r"\w") as raised:
            CALLS[call](storage)

        assert not isinstance(raised.value, Uncertain)
        storage.close()

    def test_what_an_older_version_left_takes_schedules_after_setup(
        self, old_url: str, opener: OpenStorage
    ) -> None:
        storage = opener(old_url)
        storage.setup()
        schedule = samples.schedule("a", task_id="old open")

        keep(storage, schedule, "b")

        assert known(storage, "old open").state == STARTED
        assert kept(storage, tasks=TaskQuery(state=STARTED)) == [schedule]
        assert len(claim(storage, "a", "b")) == 2
        assert sorted(storage.mark_sent("x", ["a", "b"], [])) == ["a", "b"]
        storage.close()

    def test_setup_keeps_the_schedules_that_are_there(self, storage: Storage) -> None:
        keep(storage, "a", "b")
        claimed = claim(storage, "a")
        storage.withdraw("c")

        storage.setup()

        keep(storage, "c")
        assert kept(storage) == [*claimed, samples.schedule("b")]
