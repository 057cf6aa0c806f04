"""The suite: schedules marked sent, released, taken over, cancelled and rescheduled."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from fullresult.record import (
    RETRY,
    REVOKED,
    SCHEDULED,
    SCHEDULED_SENT,
    STARTED,
    ScheduleQuery,
)
from fullresult.record.merging import merge
from fullresult.storage import ScheduleStorage
from fullresult.testing import samples
from fullresult.testing.fixtures import ScheduleFixtures, known
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


class Changing(ScheduleFixtures):
    def test_what_is_marked_sent_is_kept_no_more(self, schedule_storage: ScheduleStorage) -> None:
        keep(schedule_storage, "a", "b")
        claim(schedule_storage, "a", "b")
        events = [samples.became(f"task {name}", SCHEDULED_SENT) for name in "ab"]

        closed = schedule_storage.mark_sent("x", ["a", "b"], events)

        assert sorted(closed) == ["a", "b"]
        for name in "ab":
            check_gone(schedule_storage, name)
            assert known(schedule_storage, f"task {name}").state == SCHEDULED_SENT

    def test_events_of_what_is_sent_are_merged_as_write_does(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, "a", "b")
        schedule_storage.write([samples.became("task a", STARTED)])
        claim(schedule_storage, "a", "b")
        sent = [samples.became("task a", SCHEDULED_SENT), samples.rich("task b")]

        schedule_storage.mark_sent("x", ["a", "b"], sent)

        assert known(schedule_storage, "task a").state == STARTED
        expected = merge(samples.scheduled(samples.schedule("b")), samples.rich("task b"))
        assert known(schedule_storage, "task b") == samples.plain(expected)

    def test_what_a_claim_has_not_is_not_closed_by_it(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, "a", "b", "c")
        claim(schedule_storage, "a")
        (other,) = claim(schedule_storage, "b", by="y")

        closed = schedule_storage.mark_sent("x", ["a", "b", "c", "unknown"], [])

        assert list(closed) == ["a"]
        assert kept(schedule_storage) == [other, samples.schedule("c")]

    def test_what_a_claim_has_and_is_not_named_stays(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, "a", "b")
        claim(schedule_storage, "a", "b")

        closed = schedule_storage.mark_sent("x", ["a"], [])

        assert list(closed) == ["a"]
        assert [schedule.schedule_id for schedule in kept(schedule_storage)] == ["b"]
        assert list(schedule_storage.mark_sent("x", [], [])) == []

    def test_a_claim_that_was_lost_closes_nothing(self, schedule_storage: ScheduleStorage) -> None:
        """It was released, and claimed again by another."""
        keep(schedule_storage, "a")
        claim(schedule_storage, "a", by="first")
        schedule_storage.release(["a"])
        second = claim(schedule_storage, "a", by="second")

        closed = schedule_storage.mark_sent("first", ["a"], [])

        assert list(closed) == []
        assert kept(schedule_storage) == second
        assert list(schedule_storage.mark_sent("second", ["a"], [])) == ["a"]

    def test_nothing_is_closed_twice(self, schedule_storage: ScheduleStorage) -> None:
        keep(schedule_storage, "a")
        claim(schedule_storage, "a")

        closed = [list(schedule_storage.mark_sent("x", ["a"], [])) for _ in range(2)]

        assert closed == [["a"], []]

    def test_what_was_sent_with_an_event_that_cannot_be_kept_is_not_closed(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        """A storage merges the events as they are and closes the schedule, or does neither."""
        keep(schedule_storage, "a", "b")
        claimed = claim(schedule_storage, "a", "b")
        odd = samples.became("task b", SCHEDULED_SENT, exception_message=IMPOSSIBLE)
        events = [samples.became("task a", SCHEDULED_SENT), odd]

        refused = is_refused(lambda: schedule_storage.mark_sent("x", ["a", "b"], events))

        assert kept(schedule_storage) == (claimed if refused else [])
        expected = SCHEDULED if refused else SCHEDULED_SENT
        assert {known(schedule_storage, f"task {name}").state for name in "ab"} == {expected}

    def test_the_schedules_of_one_task_are_independent(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        """A fast task retries with a countdown before its own schedule is marked sent."""
        keep(schedule_storage, samples.schedule("first", task_id="a"))
        claim(schedule_storage, "first")
        retry = samples.schedule("retry", samples.after(1), task_id="a")
        again = samples.schedule("again", samples.after(2), task_id="a")
        keep(schedule_storage, retry, again)

        closed = schedule_storage.mark_sent("x", ["first"], [samples.became("a", SCHEDULED_SENT)])

        assert list(closed) == ["first"]
        assert kept(schedule_storage) == [retry, again]
        assert schedule_storage.cancel("again", samples.became("a", REVOKED))
        assert kept(schedule_storage) == [retry]
        assert claim(schedule_storage, "retry")

    def test_a_problem_is_noted_and_the_schedule_stays_claimed(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, "a", "b")
        first, second = claim(schedule_storage, "a", "b")

        schedule_storage.mark_problem("x", "a", "it is not known")
        schedule_storage.mark_problem("x", "a", "the broker did not answer")

        assert kept(schedule_storage) == [
            first._replace(problem="the broker did not answer"),
            second,
        ]
        assert claim(schedule_storage) == []
        assert list(schedule_storage.mark_sent("x", ["a"], [])) == ["a"]

    def test_a_problem_of_what_a_claim_has_not_is_not_noted(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, "a", "b")
        claimed = claim(schedule_storage, "a", by="y")

        for name in ("a", "b", "unknown"):
            schedule_storage.mark_problem("x", name, "lost")

        assert kept(schedule_storage) == [*claimed, samples.schedule("b")]

    def test_what_is_released_can_be_claimed_again(self, schedule_storage: ScheduleStorage) -> None:
        keep(schedule_storage, "a", "b")
        claim(schedule_storage, "a", "b")
        schedule_storage.mark_problem("x", "a", "lost")

        released = schedule_storage.release(["a"])

        assert list(released) == ["a"]
        assert kept(schedule_storage)[0] == samples.schedule("a")
        assert claim(schedule_storage, "a", by="y")

    def test_only_what_is_claimed_is_released(self, schedule_storage: ScheduleStorage) -> None:
        keep(schedule_storage, "a", "b")
        claim(schedule_storage, "a")

        released = [
            sorted(schedule_storage.release(asked)) for asked in (["b", "unknown"], [], ["a", "b"])
        ]

        assert released == [[], [], ["a"]]
        assert kept(schedule_storage) == [samples.schedule("a"), samples.schedule("b")]

    def test_a_claim_releases_only_what_it_has(self, schedule_storage: ScheduleStorage) -> None:
        keep(schedule_storage, "a", "b")
        claim(schedule_storage, "a")
        others = claim(schedule_storage, "b", by="y")

        released = schedule_storage.release(["a", "b"], "x")

        assert list(released) == ["a"]
        assert kept(schedule_storage) == [samples.schedule("a"), *others]

    def test_any_number_of_schedules_is_released_and_closed(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, "a", "b")
        claim(schedule_storage, "a", "b")
        unknown = [f"unknown {number}" for number in range(70_000)]

        closed = schedule_storage.mark_sent("x", ["a", *unknown], [])
        released = schedule_storage.release([*unknown, "b"])

        assert (list(closed), list(released)) == (["a"], ["b"])

    @pytest.mark.parametrize("instead_of", ["dead", None])
    @pytest.mark.parametrize("due", [samples.NOON, LATER], ids=["due", "not due"])
    def test_a_schedule_is_taken_over_due_or_not(
        self, schedule_storage: ScheduleStorage, due: datetime, instead_of: str | None
    ) -> None:
        schedule = samples.RICH_SCHEDULE._replace(due=due)
        schedule_id = schedule.schedule_id
        keep(schedule_storage, schedule, "other")
        if instead_of:
            claim(schedule_storage, schedule_id, by=instead_of, namespace=schedule.namespace)
            schedule_storage.mark_problem(instead_of, schedule_id, "lost")

        taken = schedule_storage.take_over(
            schedule_id, "new", samples.after(7), instead_of=instead_of
        )

        assert taken == schedule._replace(claim="new", date_claimed=samples.after(7))
        assert {each.schedule_id: each for each in kept(schedule_storage)} == {
            schedule_id: taken,
            "other": samples.schedule("other"),
        }
        assert list(schedule_storage.mark_sent("new", [schedule_id], [])) == [schedule_id]

    def test_what_somebody_else_was_faster_with_is_not_taken_over(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, "a", "b")
        claimed = claim(schedule_storage, "a")
        schedule_storage.mark_problem("x", "a", "lost")

        for name, instead_of in [("a", None), ("a", "y"), ("b", "x"), ("unknown", None)]:
            assert take_over(schedule_storage, name, instead_of=instead_of) is None

        assert kept(schedule_storage) == [
            claimed[0]._replace(problem="lost"),
            samples.schedule("b"),
        ]

    def test_what_is_cancelled_is_kept_no_more(self, schedule_storage: ScheduleStorage) -> None:
        keep(schedule_storage, "a", "b")

        cancelled = [cancel(schedule_storage, "a") for _ in range(2)]

        assert cancelled == [True, False]
        check_gone(schedule_storage, "a")
        assert kept(schedule_storage) == [samples.schedule("b")]
        assert known(schedule_storage, "task a").state == REVOKED

    def test_what_is_not_waiting_is_not_cancelled(self, schedule_storage: ScheduleStorage) -> None:
        keep(schedule_storage, "a")
        claimed = claim(schedule_storage, "a")

        cancelled = [cancel(schedule_storage, name) for name in ("a", "unknown")]

        assert cancelled == [False, False]
        assert kept(schedule_storage) == claimed
        assert known(schedule_storage, "task a").state == SCHEDULED
        assert schedule_storage.get("task unknown") is None

    def test_what_is_put_off_is_due_then_and_not_before(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, samples.RICH_SCHEDULE)
        schedule_id, task_id, namespace = samples.RICH_SCHEDULE[:3]

        changed = schedule_storage.reschedule(schedule_id, LATER, samples.became(task_id, STARTED))

        assert changed
        assert kept(schedule_storage) == [samples.RICH_SCHEDULE._replace(due=LATER)]
        assert known(schedule_storage, task_id).state == STARTED
        assert schedule_storage.next_due(namespace) == LATER
        assert schedule_storage.claim_due(namespace, samples.after(59_999), "x", 9) == []
        assert len(schedule_storage.claim_due(namespace, LATER, "x", 9)) == 1

    def test_what_is_brought_forward_is_due_earlier(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, samples.schedule("a", LATER), samples.schedule("b", LATER))

        changed = schedule_storage.reschedule(
            "b", samples.NOON, samples.became("task b", SCHEDULED)
        )

        assert changed
        assert schedule_storage.next_due("shop") == samples.NOON
        assert [schedule.schedule_id for schedule in claim(schedule_storage)] == ["b"]

    def test_what_others_moved_meanwhile_is_not_put_off(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, samples.schedule("a", samples.NOON))
        twice = [(samples.NOON, STARTED), (samples.NOON, RETRY)]

        moved = [
            schedule_storage.reschedule(
                "a", LATER, samples.became("task a", state), instead_of=instead_of
            )
            for instead_of, state in twice
        ]

        assert moved == [True, False]
        assert schedule_storage.next_due("shop") == LATER
        assert known(schedule_storage, "task a").state == STARTED
        again = samples.became("task a", RETRY)
        assert schedule_storage.reschedule("a", samples.NOON, again, instead_of=LATER)

    def test_two_who_put_off_by_an_hour_at_once_put_off_by_two(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, samples.schedule("a", samples.NOON))
        hour = timedelta(hours=1)

        def put_off(_: int) -> None:
            while True:
                (schedule,) = schedule_storage.find_schedules(ScheduleQuery(schedule_ids=["a"]))
                event = samples.became("task a", SCHEDULED)
                due = schedule.due + hour
                if schedule_storage.reschedule("a", due, event, instead_of=schedule.due):
                    return

        with ThreadPoolExecutor(4) as people:
            list(people.map(put_off, range(4)))

        assert schedule_storage.next_due("shop") == samples.NOON + 4 * hour

    def test_what_is_not_waiting_is_not_put_off(self, schedule_storage: ScheduleStorage) -> None:
        keep(schedule_storage, "a")
        claimed = claim(schedule_storage, "a")

        changed = [reschedule(schedule_storage, name) for name in ("a", "unknown")]

        assert changed == [False, False]
        assert kept(schedule_storage) == claimed
        assert known(schedule_storage, "task a").state == SCHEDULED
        assert schedule_storage.get("task unknown") is None

    @pytest.mark.parametrize("change", ["cancel", "reschedule"])
    def test_a_change_whose_event_cannot_be_kept_is_not_made(
        self, schedule_storage: ScheduleStorage, change: str
    ) -> None:
        """A storage changes the schedule and merges the event as it is, or does neither."""
        keep(schedule_storage, "a")
        odd = samples.became("task a", REVOKED, exception_message=IMPOSSIBLE)
        changes = {
            "cancel": lambda: schedule_storage.cancel("a", odd),
            "reschedule": lambda: schedule_storage.reschedule("a", LATER, odd),
        }

        refused = is_refused(changes[change])

        assert (kept(schedule_storage) == [samples.schedule("a")]) is refused
        assert known(schedule_storage, "task a").state == (SCHEDULED if refused else REVOKED)

    def test_what_is_released_may_be_cancelled_or_put_off(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, "a", "b")
        claim(schedule_storage, "a", "b")
        schedule_storage.release(["a", "b"])

        changed = cancel(schedule_storage, "a"), reschedule(schedule_storage, "b")

        assert changed == (True, True)
        assert kept(schedule_storage) == [samples.schedule("b", LATER)]
