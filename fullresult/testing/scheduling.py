"""The suite: schedules kept, withdrawn, sent, given up, cancelled and put off."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest

from fullresult.events import merge
from fullresult.record import REVOKED, SCHEDULED, SCHEDULED_SENT, STARTED, SUCCESS
from fullresult.schedule import Schedule, ScheduleQuery
from fullresult.storage import Refused, Storage, StorageError, TaskQuery, Uncertain
from fullresult.testing import samples
from fullresult.testing.fixtures import Fixtures, ids, known
from fullresult.testing.keeping import ODD_IDS, ODD_TEXTS
from fullresult.testing.processes import OpenStorage

IMPOSSIBLE = "\x00 and \ud800"
"""A text that some databases cannot hold."""
LATER = samples.after(60_000)

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

        self.check_gone(storage, "a")

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

    def test_what_is_marked_sent_is_kept_no_more(self, storage: Storage) -> None:
        keep(storage, "a", "b")
        claim(storage, "a", "b")
        events = [samples.became(f"task {name}", SCHEDULED_SENT) for name in "ab"]

        closed = storage.mark_sent("x", ["a", "b"], events)

        assert sorted(closed) == ["a", "b"]
        for name in "ab":
            self.check_gone(storage, name)
            assert known(storage, f"task {name}").state == SCHEDULED_SENT

    def test_events_of_what_is_sent_are_merged_as_write_does(self, storage: Storage) -> None:
        keep(storage, "a", "b")
        storage.write([samples.became("task a", STARTED)])
        claim(storage, "a", "b")
        sent = [samples.became("task a", SCHEDULED_SENT), samples.rich("task b")]

        storage.mark_sent("x", ["a", "b"], sent)

        assert known(storage, "task a").state == STARTED
        expected = merge(samples.scheduled(samples.schedule("b")), samples.rich("task b"))
        assert known(storage, "task b") == samples.plain(expected)

    def test_what_a_claim_has_not_is_not_closed_by_it(self, storage: Storage) -> None:
        keep(storage, "a", "b", "c")
        claim(storage, "a")
        (other,) = claim(storage, "b", by="y")

        closed = storage.mark_sent("x", ["a", "b", "c", "unknown"], [])

        assert list(closed) == ["a"]
        assert kept(storage) == [other, samples.schedule("c")]

    def test_what_a_claim_has_and_is_not_named_stays(self, storage: Storage) -> None:
        keep(storage, "a", "b")
        claim(storage, "a", "b")

        closed = storage.mark_sent("x", ["a"], [])

        assert list(closed) == ["a"]
        assert [schedule.schedule_id for schedule in kept(storage)] == ["b"]
        assert list(storage.mark_sent("x", [], [])) == []

    def test_a_claim_that_was_lost_closes_nothing(self, storage: Storage) -> None:
        """It was released, and claimed anew by somebody else."""
        keep(storage, "a")
        claim(storage, "a", by="first")
        storage.release(["a"])
        second = claim(storage, "a", by="second")

        closed = storage.mark_sent("first", ["a"], [])

        assert list(closed) == []
        assert kept(storage) == second
        assert list(storage.mark_sent("second", ["a"], [])) == ["a"]

    def test_nothing_is_closed_twice(self, storage: Storage) -> None:
        keep(storage, "a")
        claim(storage, "a")

        closed = [list(storage.mark_sent("x", ["a"], [])) for _ in range(2)]

        assert closed == [["a"], []]

    def test_what_was_sent_with_an_event_that_cannot_be_kept_is_not_closed(
        self, storage: Storage
    ) -> None:
        """A storage merges the events exactly and closes, or neither."""
        keep(storage, "a", "b")
        claimed = claim(storage, "a", "b")
        odd = samples.became("task b", SCHEDULED_SENT, exception_message=IMPOSSIBLE)
        events = [samples.became("task a", SCHEDULED_SENT), odd]

        refused = is_refused(lambda: storage.mark_sent("x", ["a", "b"], events))

        assert kept(storage) == (claimed if refused else [])
        expected = SCHEDULED if refused else SCHEDULED_SENT
        assert {known(storage, f"task {name}").state for name in "ab"} == {expected}

    def test_the_schedules_of_one_task_are_independent(self, storage: Storage) -> None:
        """A fast task retries, with a countdown, before its own sending is marked."""
        keep(storage, samples.schedule("first", task_id="a"))
        claim(storage, "first")
        retry = samples.schedule("retry", samples.after(1), task_id="a")
        again = samples.schedule("again", samples.after(2), task_id="a")
        keep(storage, retry, again)

        closed = storage.mark_sent("x", ["first"], [samples.became("a", SCHEDULED_SENT)])

        assert list(closed) == ["first"]
        assert kept(storage) == [retry, again]
        assert storage.cancel("again", samples.became("a", REVOKED))
        assert kept(storage) == [retry]
        assert claim(storage, "retry")

    def test_a_problem_is_noted_and_the_schedule_stays_claimed(self, storage: Storage) -> None:
        keep(storage, "a", "b")
        first, second = claim(storage, "a", "b")

        storage.mark_problem("x", "a", "it is not known")
        storage.mark_problem("x", "a", "the broker did not answer")

        assert kept(storage) == [first._replace(problem="the broker did not answer"), second]
        assert claim(storage) == []
        assert list(storage.mark_sent("x", ["a"], [])) == ["a"]

    def test_a_problem_of_what_a_claim_has_not_is_not_noted(self, storage: Storage) -> None:
        keep(storage, "a", "b")
        claimed = claim(storage, "a", by="y")

        for name in ("a", "b", "unknown"):
            storage.mark_problem("x", name, "lost")

        assert kept(storage) == [*claimed, samples.schedule("b")]

    def test_what_is_released_can_be_claimed_again(self, storage: Storage) -> None:
        keep(storage, "a", "b")
        claim(storage, "a", "b")
        storage.mark_problem("x", "a", "lost")

        released = storage.release(["a"])

        assert list(released) == ["a"]
        assert kept(storage)[0] == samples.schedule("a")
        assert claim(storage, "a", by="y")

    def test_only_what_is_claimed_is_released(self, storage: Storage) -> None:
        keep(storage, "a", "b")
        claim(storage, "a")

        released = [sorted(storage.release(asked)) for asked in (["b", "unknown"], [], ["a", "b"])]

        assert released == [[], [], ["a"]]
        assert kept(storage) == [samples.schedule("a"), samples.schedule("b")]

    def test_a_claim_releases_only_what_it_has(self, storage: Storage) -> None:
        keep(storage, "a", "b")
        claim(storage, "a")
        others = claim(storage, "b", by="y")

        released = storage.release(["a", "b"], "x")

        assert list(released) == ["a"]
        assert kept(storage) == [samples.schedule("a"), *others]

    def test_any_number_of_schedules_is_released_and_closed(self, storage: Storage) -> None:
        keep(storage, "a", "b")
        claim(storage, "a", "b")
        unknown = [f"unknown {number}" for number in range(70_000)]

        closed = storage.mark_sent("x", ["a", *unknown], [])
        released = storage.release([*unknown, "b"])

        assert (list(closed), list(released)) == (["a"], ["b"])

    @pytest.mark.parametrize("instead_of", ["dead", None])
    @pytest.mark.parametrize("due", [samples.NOON, LATER], ids=["due", "not due"])
    def test_a_schedule_is_taken_over_due_or_not(
        self, storage: Storage, due: datetime, instead_of: str | None
    ) -> None:
        schedule = samples.RICH_SCHEDULE._replace(due=due)
        schedule_id = schedule.schedule_id
        keep(storage, schedule, "other")
        if instead_of:
            claim(storage, schedule_id, by=instead_of, namespace=schedule.namespace)
            storage.mark_problem(instead_of, schedule_id, "lost")

        taken = storage.take_over(schedule_id, "new", samples.after(7), instead_of=instead_of)

        assert taken == schedule._replace(claim="new", date_claimed=samples.after(7))
        assert {each.schedule_id: each for each in kept(storage)} == {
            schedule_id: taken,
            "other": samples.schedule("other"),
        }
        assert list(storage.mark_sent("new", [schedule_id], [])) == [schedule_id]

    def test_what_somebody_else_was_faster_with_is_not_taken_over(self, storage: Storage) -> None:
        keep(storage, "a", "b")
        claimed = claim(storage, "a")
        storage.mark_problem("x", "a", "lost")

        for name, instead_of in [("a", None), ("a", "y"), ("b", "x"), ("unknown", None)]:
            assert take_over(storage, name, instead_of=instead_of) is None

        assert kept(storage) == [claimed[0]._replace(problem="lost"), samples.schedule("b")]

    def test_what_is_cancelled_is_kept_no_more(self, storage: Storage) -> None:
        keep(storage, "a", "b")

        cancelled = [cancel(storage, "a") for _ in range(2)]

        assert cancelled == [True, False]
        self.check_gone(storage, "a")
        assert kept(storage) == [samples.schedule("b")]
        assert known(storage, "task a").state == REVOKED

    def test_what_is_not_waiting_is_not_cancelled(self, storage: Storage) -> None:
        keep(storage, "a")
        claimed = claim(storage, "a")

        cancelled = [cancel(storage, name) for name in ("a", "unknown")]

        assert cancelled == [False, False]
        assert kept(storage) == claimed
        assert known(storage, "task a").state == SCHEDULED
        assert storage.get("task unknown") is None

    def test_what_is_put_off_is_due_then_and_not_before(self, storage: Storage) -> None:
        keep(storage, samples.RICH_SCHEDULE)
        schedule_id, task_id, namespace = samples.RICH_SCHEDULE[:3]

        changed = storage.reschedule(schedule_id, LATER, samples.became(task_id, STARTED))

        assert changed
        assert kept(storage) == [samples.RICH_SCHEDULE._replace(due=LATER)]
        assert known(storage, task_id).state == STARTED
        assert storage.next_due(namespace) == LATER
        assert storage.claim_due(namespace, samples.after(59_999), "x", 9) == []
        assert len(storage.claim_due(namespace, LATER, "x", 9)) == 1

    def test_what_is_brought_forward_is_due_earlier(self, storage: Storage) -> None:
        keep(storage, samples.schedule("a", LATER), samples.schedule("b", LATER))

        changed = storage.reschedule("b", samples.NOON, samples.became("task b", SCHEDULED))

        assert changed
        assert storage.next_due("shop") == samples.NOON
        assert [schedule.schedule_id for schedule in claim(storage)] == ["b"]

    def test_what_is_not_waiting_is_not_put_off(self, storage: Storage) -> None:
        keep(storage, "a")
        claimed = claim(storage, "a")

        changed = [reschedule(storage, name) for name in ("a", "unknown")]

        assert changed == [False, False]
        assert kept(storage) == claimed
        assert known(storage, "task a").state == SCHEDULED
        assert storage.get("task unknown") is None

    @pytest.mark.parametrize("change", ["cancel", "reschedule"])
    def test_a_change_whose_event_cannot_be_kept_is_not_made(
        self, storage: Storage, change: str
    ) -> None:
        """A storage changes the schedule and merges the event exactly, or neither."""
        keep(storage, "a")
        odd = samples.became("task a", REVOKED, exception_message=IMPOSSIBLE)
        changes = {
            "cancel": lambda: storage.cancel("a", odd),
            "reschedule": lambda: storage.reschedule("a", LATER, odd),
        }

        refused = is_refused(changes[change])

        assert (kept(storage) == [samples.schedule("a")]) is refused
        assert known(storage, "task a").state == (SCHEDULED if refused else REVOKED)

    def test_what_is_released_may_be_cancelled_or_put_off(self, storage: Storage) -> None:
        keep(storage, "a", "b")
        claim(storage, "a", "b")
        storage.release(["a", "b"])

        changed = cancel(storage, "a"), reschedule(storage, "b")

        assert changed == (True, True)
        assert kept(storage) == [samples.schedule("b", LATER)]

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

        assert ids(storage.find(TaskQuery(text="old open"))) == ["old open"]
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

    @staticmethod
    def check_gone(storage: Storage, schedule_id: str) -> None:
        """No method but `schedule` and `withdraw` knows of it."""
        query = ScheduleQuery(schedule_ids=[schedule_id])
        assert storage.find_schedules(query) == []
        assert storage.count_schedules(query) == 0
        assert schedule_id not in [each.schedule_id for each in claim(storage, by="gone")]
        for instead_of in (None, "x"):
            assert take_over(storage, schedule_id, instead_of=instead_of) is None
        assert list(storage.release([schedule_id])) == []
        assert list(storage.mark_sent("x", [schedule_id], [])) == []
        assert not storage.cancel(schedule_id, samples.became("none", REVOKED))
        assert not storage.reschedule(schedule_id, LATER, samples.became("none", SCHEDULED))
        assert storage.get("none") is None
        storage.mark_problem("x", schedule_id, "lost")
        storage.release([each.schedule_id for each in kept(storage)], "gone")
        if not kept(storage):
            assert storage.next_due("shop") is None


def keep(storage: Storage, *schedules: Schedule | str) -> None:
    """Store each, or one of that id, with its event."""
    for each in schedules:
        schedule = samples.schedule(each) if isinstance(each, str) else each
        storage.schedule(schedule, samples.scheduled(schedule))


def kept(storage: Storage, **filters: Any) -> list[Schedule]:
    """All schedules that the storage knows of, or those that *filters* ask for."""
    return storage.find_schedules(ScheduleQuery(limit=None, **filters))


def claim(
    storage: Storage,
    *schedule_ids: str,
    by: str = "x",
    namespace: str = "shop",
    now: datetime = samples.NOON,
) -> list[Schedule]:
    """Claim exactly these, whatever else is due and when; without any, what is due."""
    if not schedule_ids:
        return storage.claim_due(namespace, now, by, 100)
    taken = [storage.take_over(each, by, now, instead_of=None) for each in schedule_ids]
    return [schedule for schedule in taken if schedule is not None]


def take_over(
    storage: Storage, schedule_id: str, by: str = "x", *, instead_of: str | None = None
) -> Schedule | None:
    return storage.take_over(schedule_id, by, samples.NOON, instead_of=instead_of)


def cancel(storage: Storage, schedule_id: str) -> bool:
    return storage.cancel(schedule_id, samples.became(f"task {schedule_id}", REVOKED))


def reschedule(storage: Storage, schedule_id: str) -> bool:
    """Put it off until `LATER`."""
    event = samples.became(f"task {schedule_id}", STARTED)
    return storage.reschedule(schedule_id, LATER, event)


def is_refused(do: Callable[[], object]) -> bool:
    try:
        do()
    except Refused:
        return True
    return False
