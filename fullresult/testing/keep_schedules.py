"""The suite: schedules kept and withdrawn, and databases of older versions."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from fullresult.record import REVOKED, SCHEDULED, STARTED, SUCCESS
from fullresult.record.merging import merge
from fullresult.record.schedule import ScheduleQuery
from fullresult.storage import ScheduleStorage, StorageError, TaskQuery, Uncertain
from fullresult.testing import samples
from fullresult.testing.fixtures import ScheduleFixtures, known, with_schedules_or_skip
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

CALLS: dict[str, Callable[[ScheduleStorage], object]] = {
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


class Scheduling(ScheduleFixtures):
    def test_every_field_of_a_schedule_comes_back(self, schedule_storage: ScheduleStorage) -> None:
        keep(schedule_storage, samples.RICH_SCHEDULE)

        assert kept(schedule_storage) == [samples.RICH_SCHEDULE]

    def test_every_field_of_a_claimed_schedule_comes_back(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, samples.RICH_SCHEDULE)
        namespace = samples.RICH_SCHEDULE.namespace

        claimed = schedule_storage.claim_due(namespace, samples.LATEST, "клейм", 1)
        schedule_id = samples.RICH_SCHEDULE.schedule_id
        schedule_storage.mark_problem("клейм", schedule_id, "the bröker's gone\n")

        expected = samples.RICH_SCHEDULE._replace(claim="клейм", date_claimed=samples.LATEST)
        assert claimed == [expected]
        assert kept(schedule_storage) == [expected._replace(problem="the bröker's gone\n")]

    @pytest.mark.parametrize("field", ["name", "queue", "new_task_id"])
    def test_a_field_of_a_schedule_may_be_none(
        self, schedule_storage: ScheduleStorage, field: str
    ) -> None:
        nothing: dict[str, Any] = {field: None}
        schedule = samples.RICH_SCHEDULE._replace(**nothing)

        keep(schedule_storage, schedule)

        assert kept(schedule_storage) == [schedule]

    @pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS)
    def test_any_text_in_a_schedule_comes_back(
        self, schedule_storage: ScheduleStorage, text: str
    ) -> None:
        short = text if len(text) < 1000 else "short"
        schedule = samples.schedule(
            "a", name=short, queue=short, namespace=short, headers=text, how=text
        )
        keep(schedule_storage, schedule)

        claimed = schedule_storage.claim_due(short, samples.NOON, short, 1)
        schedule_storage.mark_problem(short, "a", text)

        expected = schedule._replace(claim=short, date_claimed=samples.NOON)
        assert claimed == [expected]
        assert kept(schedule_storage) == [expected._replace(problem=text)]

    @pytest.mark.parametrize("odd", ODD_IDS.values(), ids=ODD_IDS)
    def test_any_id_of_a_schedule_is_told_apart(
        self, schedule_storage: ScheduleStorage, odd: str
    ) -> None:
        others = {odd[:-1] + "~", f"{odd} "}
        for each in (odd, *others):
            keep(schedule_storage, samples.schedule(each, task_id=odd, new_task_id=odd))

        cancelled = schedule_storage.cancel(odd, samples.became(odd, REVOKED))

        assert cancelled
        assert {schedule.schedule_id for schedule in kept(schedule_storage)} == others
        assert {schedule.task_id for schedule in kept(schedule_storage)} == {odd}
        assert {schedule.new_task_id for schedule in kept(schedule_storage)} == {odd}

    @pytest.mark.parametrize("size", [0, 1, 1_000_000])
    def test_the_body_of_a_schedule_is_kept_byte_for_byte(
        self, schedule_storage: ScheduleStorage, size: int
    ) -> None:
        body = (bytes(range(256)) * (size // 256 + 1))[:size]
        keep(schedule_storage, samples.schedule("a", body=body))

        (claimed,) = schedule_storage.claim_due("shop", samples.NOON, "x", 1)

        assert claimed.body == body
        assert type(claimed.body) is bytes
        assert kept(schedule_storage) == [claimed]

    @pytest.mark.parametrize(
        "date",
        [samples.EPOCH, samples.LATEST, samples.after(1), samples.after(999), samples.NOON],
        ids=str,
    )
    def test_any_date_of_a_schedule_comes_back(
        self, schedule_storage: ScheduleStorage, date: datetime
    ) -> None:
        schedule = samples.schedule("a", date, date_scheduled=date)
        keep(schedule_storage, schedule)

        next_due = schedule_storage.next_due("shop")
        (claimed,) = schedule_storage.claim_due("shop", date, "x", 1)

        assert next_due == date
        assert claimed == schedule._replace(claim="x", date_claimed=date)
        dates = [claimed.due, claimed.date_scheduled, claimed.date_claimed, next_due]
        assert {each.utcoffset() for each in dates if each} == {timedelta(0)}
        assert kept(schedule_storage) == [claimed]

    def test_the_event_is_merged_with_its_schedule(self, schedule_storage: ScheduleStorage) -> None:
        schedule_storage.write([samples.became("task a", SUCCESS)])
        schedule = samples.schedule("a")

        schedule_storage.schedule(schedule, samples.scheduled(schedule, queue="q"))

        expected = merge(samples.became("task a", SUCCESS), samples.scheduled(schedule, queue="q"))
        assert known(schedule_storage, "task a") == expected
        assert kept(schedule_storage) == [schedule]

    def test_all_of_an_event_is_merged_with_its_schedule(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        schedule_storage.schedule(samples.schedule("a"), samples.rich("task a"))

        assert known(schedule_storage, "task a") == samples.plain(samples.rich("task a"))

    def test_a_schedule_with_an_event_that_cannot_be_kept_is_not_kept(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        """A storage keeps both as they are, or refuses both."""
        event = samples.became("task a", SCHEDULED, exception_message=IMPOSSIBLE)

        refused = is_refused(lambda: schedule_storage.schedule(samples.schedule("a"), event))

        assert (schedule_storage.get("task a") is None) is refused
        assert (kept(schedule_storage) == []) is refused

    def test_the_event_of_a_schedule_that_cannot_be_kept_is_not_merged(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        """A storage keeps both as they are, or refuses both."""
        schedule = samples.schedule("a", headers=IMPOSSIBLE)

        refused = is_refused(lambda: keep(schedule_storage, schedule))

        assert (schedule_storage.get("task a") is None) is refused
        assert kept(schedule_storage) == ([] if refused else [schedule])

    def test_no_schedule_is_seen_without_its_event(self, schedule_storage: ScheduleStorage) -> None:
        schedules = [samples.schedule(f"{number}") for number in range(60)]

        with ThreadPoolExecutor(1) as thread:
            keeping = thread.submit(keep, schedule_storage, *schedules)
            while not keeping.done():
                for schedule in kept(schedule_storage):
                    assert known(schedule_storage, schedule.task_id).state == SCHEDULED

        assert keeping.exception() is None
        assert len(kept(schedule_storage)) == 60

    def test_a_schedule_that_is_kept_already_stays_as_it_is(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, "a")
        other = samples.RICH_SCHEDULE._replace(schedule_id="a")

        schedule_storage.schedule(other, samples.became("task a", STARTED))

        assert kept(schedule_storage) == [samples.schedule("a")]
        assert known(schedule_storage, "task a").state == STARTED

    def test_a_schedule_that_is_claimed_already_stays_claimed(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, "a")
        claimed = claim(schedule_storage, "a")

        schedule_storage.schedule(samples.schedule("a", LATER), samples.became("task a", STARTED))

        assert kept(schedule_storage) == claimed
        assert known(schedule_storage, "task a").state == STARTED

    def test_a_schedule_that_was_withdrawn_before_it_came_is_not_kept(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        schedule_storage.withdraw("a")

        keep(schedule_storage, "a", "b")

        assert kept(schedule_storage) == [samples.schedule("b")]
        assert known(schedule_storage, "task a").state == SCHEDULED

    def test_a_schedule_that_was_withdrawn_is_not_kept_when_it_comes_again(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, "a")
        schedule_storage.withdraw("a")

        schedule_storage.schedule(samples.schedule("a"), samples.became("task a", STARTED))

        assert kept(schedule_storage) == []
        assert known(schedule_storage, "task a").state == STARTED

    @pytest.mark.parametrize("is_kept", [True, False])
    def test_a_withdrawn_schedule_is_gone_for_all_methods(
        self, schedule_storage: ScheduleStorage, is_kept: bool
    ) -> None:
        if is_kept:
            keep(schedule_storage, "a")

        schedule_storage.withdraw("a")
        schedule_storage.withdraw("a")

        check_gone(schedule_storage, "a")

    def test_to_withdraw_one_leaves_the_others(self, schedule_storage: ScheduleStorage) -> None:
        keep(schedule_storage, "a", samples.schedule("b", task_id="task a"))

        schedule_storage.withdraw("a")

        assert kept(schedule_storage) == [samples.schedule("b", task_id="task a")]
        assert known(schedule_storage, "task a").state == SCHEDULED

    def test_a_claimed_schedule_stays_when_it_is_withdrawn(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, "a")
        claimed = claim(schedule_storage, "a")

        schedule_storage.withdraw("a")

        assert kept(schedule_storage) == claimed
        assert list(schedule_storage.mark_sent("x", ["a"], [])) == ["a"]

    def test_schedules_stay_when_their_records_are_deleted(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, "a", "b")
        claim(schedule_storage, "a")

        schedule_storage.delete(TaskQuery(limit=None))

        assert [schedule.schedule_id for schedule in kept(schedule_storage)] == ["a", "b"]

    @pytest.mark.parametrize("call", CALLS)
    def test_schedules_of_a_storage_that_does_not_answer_are_a_storage_error(
        self, unreachable_url: str, opener: OpenStorage, call: str
    ) -> None:
        """The error is not `Uncertain`, because nothing can have been kept."""
        schedule_storage = with_schedules_or_skip(opener(unreachable_url))

        with pytest.raises(StorageError, match=r"\w") as raised:
            CALLS[call](schedule_storage)

        assert not isinstance(raised.value, Uncertain)
        schedule_storage.close()

    def test_what_an_older_version_left_takes_schedules_after_setup(
        self, old_url: str, opener: OpenStorage
    ) -> None:
        schedule_storage = with_schedules_or_skip(opener(old_url))
        schedule_storage.setup()
        schedule = samples.schedule("a", task_id="old open")

        keep(schedule_storage, schedule, "b")

        assert known(schedule_storage, "old open").state == STARTED
        assert kept(schedule_storage, tasks=TaskQuery(state=STARTED)) == [schedule]
        assert len(claim(schedule_storage, "a", "b")) == 2
        assert sorted(schedule_storage.mark_sent("x", ["a", "b"], [])) == ["a", "b"]
        schedule_storage.close()

    def test_setup_keeps_the_schedules_that_are_there(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, "a", "b")
        claimed = claim(schedule_storage, "a")
        schedule_storage.withdraw("c")

        schedule_storage.setup()

        keep(schedule_storage, "c")
        assert kept(schedule_storage) == [*claimed, samples.schedule("b")]
