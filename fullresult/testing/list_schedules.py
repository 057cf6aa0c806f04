"""The suite: finding and counting schedules, the next due time, and the notes of sweepers."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from fullresult.record import SCHEDULED, STARTED
from fullresult.record.schedule import Schedule, ScheduleQuery
from fullresult.storage import ScheduleStorage, TaskQuery
from fullresult.testing import samples
from fullresult.testing.fixtures import ScheduleFixtures
from fullresult.testing.schedule_helpers import claim, ids, keep, kept

MIXED = (
    samples.schedule("a", samples.after(0)),
    samples.schedule("b", samples.after(1), namespace="other"),
    samples.schedule("c", samples.after(2), task_id="task a", queue="slow"),
    samples.schedule("d", samples.after(2), name="shop.refund"),
    samples.schedule("e", samples.after(3), namespace=""),
)
"""Schedules for tests that claim "b" and "c"."""

ASKED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "abcde"),
    "a task id": ({"task_ids": ["task a"]}, "ac"),
    "task ids": ({"task_ids": {"task b", "task d", "task x", "a"}}, "bd"),
    "no task id": ({"task_ids": ()}, ""),
    "schedule ids": ({"schedule_ids": ["e", "a", "task d", "x"]}, "ae"),
    "no schedule id": ({"schedule_ids": []}, ""),
    "many ids": ({"schedule_ids": ["d", *map(str, range(70_000))]}, "d"),
    "a namespace": ({"namespace": "shop"}, "acd"),
    "the empty namespace": ({"namespace": ""}, "e"),
    "a namespace unknown": ({"namespace": "Shop"}, ""),
    "other namespaces": ({"not_namespace": "shop"}, "be"),
    "due": ({"due_until": samples.after(2)}, "abcd"),
    "due a little earlier": ({"due_until": samples.after(1)}, "ab"),
    "nothing due": ({"due_until": samples.after(-1)}, ""),
    "claimed": ({"claimed": True}, "bc"),
    "not claimed": ({"claimed": False}, "ade"),
    "in an outbox": ({"outbox": True}, ""),
    "in no outbox": ({"outbox": False}, "abcde"),
    "any task": ({"tasks": TaskQuery()}, "abcde"),
    "tasks of a name": ({"tasks": TaskQuery(name="shop.refund")}, "d"),
    "tasks of a glob": ({"tasks": TaskQuery(name="shop.*d")}, "d"),
    "tasks in a state": ({"tasks": TaskQuery(state=SCHEDULED)}, "bde"),
    "tasks of a state and a text": ({"tasks": TaskQuery(state=STARTED, text="sk a")}, "ac"),
    "tasks in any state but one": ({"tasks": TaskQuery(not_state=[SCHEDULED])}, "ac"),
    "tasks with an argument": ({"tasks": TaskQuery(kwargs={"order": 5})}, "e"),
    "tasks of a queue": ({"tasks": TaskQuery(queue="celery")}, "abcde"),
    "a page of tasks": (
        {"tasks": TaskQuery(limit=1, order="oldest", after=samples.task("task c").cursor)},
        "abcde",
    ),
    "all at once": (
        {
            "tasks": TaskQuery(state=STARTED, limit=0),
            "task_ids": ["task a", "task b"],
            "schedule_ids": ["a", "b", "c"],
            "namespace": "shop",
            "not_namespace": "other",
            "due_until": samples.after(2),
            "claimed": True,
        },
        "c",
    ),
}
"""Queries for `MIXED`, and the ids that each finds."""


def crowd() -> list[Schedule]:
    """20 schedules of 2 tasks in 4 milliseconds, with ids in no alphabetical order."""
    names = "zZaAéE中🎉_%-.0~ \\'\"|:"
    return [
        samples.schedule(f"{name}{n}", samples.after(n % 4), task_id=f"{n % 2}")
        for n, name in enumerate(names)
    ]


def sort_key(schedule: Schedule) -> tuple[datetime, str]:
    return schedule.due, schedule.schedule_id


class Listing(ScheduleFixtures):
    @pytest.mark.parametrize(("filters", "found"), ASKED.values(), ids=ASKED)
    def test_each_filter_narrows(
        self, schedule_storage: ScheduleStorage, filters: dict[str, Any], found: str
    ) -> None:
        mixed(schedule_storage)
        query = ScheduleQuery(**filters)

        schedules = schedule_storage.find_schedules(query)

        assert "".join(ids(schedules)) == found
        assert schedule_storage.count_schedules(query) == len(found)

    def test_what_is_found_is_whole(self, schedule_storage: ScheduleStorage) -> None:
        mixed(schedule_storage)

        schedules = schedule_storage.find_schedules(ScheduleQuery(tasks=TaskQuery(name="shop.*")))

        b, c = (s._replace(claim="x", date_claimed=samples.NOON) for s in MIXED[1:3])
        assert schedules == [MIXED[0], b, c, *MIXED[3:]]

    def test_a_schedule_whose_task_has_no_record_matches_no_query_for_tasks(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, "a", "b")

        schedule_storage.delete(TaskQuery(text="task a"))

        assert ids(kept(schedule_storage, tasks=TaskQuery(queue="celery"))) == ["b"]
        assert ids(kept(schedule_storage)) == ["a", "b"]

    def test_nothing_is_found_where_nothing_is(self, schedule_storage: ScheduleStorage) -> None:
        assert schedule_storage.find_schedules(ScheduleQuery()) == []
        assert schedule_storage.count_schedules(ScheduleQuery()) == 0

    def test_schedules_are_in_the_order_of_their_due_times_then_of_their_ids(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, *crowd())

        assert kept(schedule_storage) == sorted(crowd(), key=sort_key)

    @pytest.mark.parametrize("limit", [1, 3, 20, 21])
    def test_pages_have_every_schedule_once(
        self, schedule_storage: ScheduleStorage, limit: int
    ) -> None:
        keep(schedule_storage, *crowd())

        found = pages(schedule_storage, ScheduleQuery(limit=limit))

        assert found == ids(sorted(crowd(), key=sort_key))

    def test_pages_have_the_schedules_that_a_filter_asks_for(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, *crowd())
        query = ScheduleQuery(limit=2, task_ids=["1"], due_until=samples.after(2))

        found = pages(schedule_storage, query)

        expected = sorted(crowd()[1::4], key=sort_key)
        assert found == ids(expected)

    def test_pages_have_every_schedule_once_while_others_come_and_go(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, *crowd())
        query, found = ScheduleQuery(limit=3), list[str]()

        while page := schedule_storage.find_schedules(query):
            found += ids(page)
            query = replace(query, after=page[-1].cursor)
            keep(schedule_storage, samples.schedule(f"early {len(found)}", samples.after(-9)))
            schedule_storage.withdraw(found[0])
            schedule_storage.withdraw(page[-1].schedule_id)

        assert found == ids(sorted(crowd(), key=sort_key))

    @pytest.mark.parametrize("due", [samples.EPOCH, samples.LATEST], ids=str)
    def test_a_page_of_schedules_may_begin_at_any_date(
        self, schedule_storage: ScheduleStorage, due: datetime
    ) -> None:
        keep(schedule_storage, *(samples.schedule(name, due) for name in "abc"))

        assert pages(schedule_storage, ScheduleQuery(limit=1)) == ["a", "b", "c"]

    def test_a_limit_of_schedules_is_at_most_so_many(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, *(f"{number:03}" for number in range(101)))

        assert len(schedule_storage.find_schedules(ScheduleQuery())) == 100
        assert ids(schedule_storage.find_schedules(ScheduleQuery(limit=2))) == ["000", "001"]
        assert schedule_storage.find_schedules(ScheduleQuery(limit=0)) == []
        assert len(schedule_storage.find_schedules(ScheduleQuery(limit=None))) == 101

    def test_a_count_of_schedules_heeds_neither_limit_nor_after(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, *crowd())
        after = crowd()[3].cursor

        assert schedule_storage.count_schedules(ScheduleQuery(limit=2)) == 20
        assert schedule_storage.count_schedules(ScheduleQuery(limit=0, after=after)) == 20
        assert (
            schedule_storage.count_schedules(ScheduleQuery(limit=1, after=after, task_ids=["1"]))
            == 10
        )

    def test_the_next_due_is_the_first_that_nobody_has_claimed(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        keep(schedule_storage, *(samples.schedule(f"{n}", samples.after(n)) for n in (3, 1, 2)))
        keep(schedule_storage, samples.schedule("other", samples.EPOCH, namespace="other"))

        found = [schedule_storage.next_due("shop")]
        claim(schedule_storage, now=samples.after(1))
        found.append(schedule_storage.next_due("shop"))
        schedule_storage.withdraw("2")
        found.append(schedule_storage.next_due("shop"))
        claim(schedule_storage, now=samples.after(3))
        found.append(schedule_storage.next_due("shop"))
        schedule_storage.release(["3"])
        found.append(schedule_storage.next_due("shop"))

        expected = [samples.after(1), samples.after(2), samples.after(3), None, samples.after(3)]
        assert found == expected
        assert schedule_storage.next_due("other") == samples.EPOCH
        assert schedule_storage.next_due("none") is None

    def test_the_last_sweep_is_that_which_was_noted(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        schedule_storage.note_sweep("shop", samples.NOON)
        schedule_storage.note_sweep("other", samples.LATEST)
        schedule_storage.note_sweep("", samples.EPOCH)

        sweeps = [
            schedule_storage.last_sweep(namespace) for namespace in ("shop", "other", "", "none")
        ]

        assert sweeps == [samples.NOON, samples.LATEST, samples.EPOCH, None]

    def test_a_late_note_of_an_earlier_sweep_does_not_take_back_the_last(
        self, schedule_storage: ScheduleStorage
    ) -> None:
        for milliseconds in (2, 1, 5, -3, 5, 4):
            schedule_storage.note_sweep("shop", samples.after(milliseconds))

        assert schedule_storage.last_sweep("shop") == samples.after(5)

    def test_any_namespace_may_be_swept(self, schedule_storage: ScheduleStorage) -> None:
        namespace = samples.RICH_SCHEDULE.namespace

        schedule_storage.note_sweep(namespace, samples.NOON)

        assert schedule_storage.last_sweep(namespace) == samples.NOON


def pages(storage: ScheduleStorage, query: ScheduleQuery) -> list[str]:
    found: list[str] = []
    while page := storage.find_schedules(query):
        assert len(page) <= (query.limit or 0)
        found += ids(page)
        query = replace(query, after=page[-1].cursor)
    return found


def mixed(storage: ScheduleStorage) -> None:
    """Keep `MIXED`; "b" and "c" are claimed, "task a" has started, and "task e" has an argument."""
    for number, schedule in enumerate(MIXED, 1):
        storage.schedule(schedule, samples.scheduled(schedule, kwargs={"order": number}))
    storage.write([samples.became("task a", STARTED)])
    claim(storage, "b", "c")
