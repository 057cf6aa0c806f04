"""The suite: samples and capped counts, if a storage has them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import pytest

from fullresult.record import FAILURE, PENDING, SCHEDULED, STATES, SUCCESS, Start, TaskRecord
from fullresult.record.sample import Sample
from fullresult.record.schedule import ScheduleQuery
from fullresult.storage import (
    Alike,
    ScheduleStorage,
    StatisticsStorage,
    Storage,
    TaskQuery,
    WalkingStorage,
)
from fullresult.testing import samples
from fullresult.testing.fixtures import ScheduleFixtures, ids, must_say_so, write
from fullresult.testing.processes import OpenStorage

CALLS: dict[str, Callable[[Any], object]] = {
    "sample": lambda storage: storage.sample([samples.NOON, samples.after(1)], 10),
    "count_alike": lambda storage: storage.count_alike(samples.NOON, samples.after(1), 10),
    "count_capped": lambda storage: storage.count_capped(TaskQuery(), 10),
    "tally": lambda storage: storage.tally(TaskQuery(), 10),
    "walk": lambda storage: storage.walk(TaskQuery(), 10),
}


def sampled(record: TaskRecord) -> Sample:
    """The sample of *record*."""
    outcome, message, start = record.outcome, record.message, record.start
    return Sample(
        message.name if message else None,
        outcome.state if outcome else None,
        outcome.retries if outcome else None,
        record.date_created,
        record.date_published,
        message.eta if message else None,
        start.date_started if start else None,
        outcome.date_started if outcome else None,
        outcome.date_done if outcome else None,
        outcome.runtime if outcome else None,
        message.queue if message else None,
    )


def alike(record: TaskRecord) -> Alike:
    """The record, counted alone."""
    name, state = record.message and record.message.name, record.outcome and record.outcome.state
    published = record.date_published is not None
    return Alike(name, state, published, record.start is not None, record.retries > 0, 1)


def made_up(number: int) -> TaskRecord:
    """Any record, created within a minute after noon."""
    chance = random.Random(number)
    created = samples.after(chance.randrange(60_000))
    record = samples.task(
        f"{number}",
        created,
        state=chance.choice([*STATES, "PROGRESS"]),
        retries=chance.randrange(3),
        name=chance.choice(["shop.pay", "shop.ship", "é", None]),
        runtime=chance.choice([None, chance.random()]),
        eta=chance.choice([None, samples.after(90_000)]),
        queue=chance.choice(["mail", "é", None]),
    )
    if chance.random() < 0.5:
        begun = samples.after(60_000 + chance.randrange(1_000))
        record = replace(record, start=Start(samples.stamp("STARTED", begun), "w", begun))
    return record


def write_some(storage: Storage) -> None:
    """36 tasks of all states, three of each moment, by two names."""
    states = ("PENDING", "STARTED", "SUCCESS", "RETRY", "FAILURE")
    tasks = [
        samples.task(
            f"{number:02}",
            samples.after(number // 3),
            state=states[number % 5],
            name=f"shop.{'ab'[number % 2]}",
        )
        for number in range(36)
    ]
    write(storage, tasks)


class Statistics(ScheduleFixtures):
    @pytest.fixture
    def counting(self, storage: Storage) -> StatisticsStorage:
        if not isinstance(storage, StatisticsStorage):
            pytest.skip("this storage makes no statistics")
        return storage

    def test_a_sample_has_what_the_records_say(
        self, storage: Storage, counting: StatisticsStorage
    ) -> None:
        """By brute force: for each span the newest records that `find` returns."""
        write(storage, [*map(made_up, range(200)), samples.event("bare"), samples.rich("rich")])
        edges = [samples.after(moment) for moment in (-1, 0, 1, 20_000, 20_001, 40_000, 60_000)]

        for most in (1, 7, 1_000):
            found = counting.sample(edges, most)

            assert found == [
                [
                    sampled(record)
                    for record in storage.find(TaskQuery(since=a, until=b, limit=most))
                ]
                for a, b in pairwise(edges)
            ]

    def test_a_span_without_records_is_empty(self, counting: StatisticsStorage) -> None:
        assert counting.sample([samples.NOON, samples.after(1), samples.after(2)], 5) == [[], []]

    def test_a_sample_of_nothing_is_empty(
        self, storage: Storage, counting: StatisticsStorage
    ) -> None:
        write(storage, [samples.task("a")])

        assert counting.sample([samples.NOON, samples.after(1)], 0) == [[]]

    @pytest.mark.parametrize("most", [0, 1, 60, 1_000])
    def test_what_is_alike_is_counted_among_the_newest(
        self, storage: Storage, counting: StatisticsStorage, most: int
    ) -> None:
        """By brute force, and also what has no name, no state and no date of a publish."""
        write(storage, [*map(made_up, range(200)), samples.event("bare"), samples.rich("rich")])
        since, until = samples.NOON, samples.after(40_000)

        found = counting.count_alike(since, until, most)

        newest = storage.find(TaskQuery(since=since, until=until, limit=most))
        expected = Counter(map(alike, newest))
        assert {one._replace(number=1): one.number for one in found} == expected
        assert len(found) == len(expected)
        assert {type(value) for one in found for value in one[2:5]} <= {bool}

    @pytest.mark.parametrize("most", [0, 1, 3, 4, 100])
    def test_no_more_are_counted_than_asked(
        self, storage: Storage, counting: StatisticsStorage, most: int
    ) -> None:
        states = {SUCCESS: 4, FAILURE: 3, PENDING: 2}
        write(
            storage,
            [
                samples.task(f"{state} {number}", samples.after(number), state=state)
                for state, count in states.items()
                for number in range(count)
            ],
        )
        asked = (
            TaskQuery(),
            *(TaskQuery(state=state, limit=1) for state in states),
            TaskQuery(open=True),
            TaskQuery(state=[FAILURE, SUCCESS], since=samples.after(2)),
            TaskQuery(name="shop.*", text="success"),
            TaskQuery(after=f"{samples.NOON.isoformat(timespec='milliseconds')}|FAILURE 0"),
        )

        for query in asked:
            assert counting.count_capped(query, most) == min(storage.count(query), most)

    @pytest.mark.parametrize("most", [0, 1, 3, 100])
    def test_no_more_schedules_are_counted_than_asked(
        self, schedule_storage: ScheduleStorage, counting: StatisticsStorage, most: int
    ) -> None:
        storage = schedule_storage
        for number in range(4):
            schedule = samples.schedule(
                f"{number}", samples.after(number), namespace=f"{number % 2}"
            )
            storage.schedule(schedule, samples.scheduled(schedule))
        storage.claim_due("1", samples.after(1), "claim", 1)
        asked = (
            ScheduleQuery(),
            ScheduleQuery(due_until=samples.after(2), limit=1),
            ScheduleQuery(namespace="1", claimed=False),
            ScheduleQuery(claimed=True),
            ScheduleQuery(tasks=TaskQuery(state=SCHEDULED, name="shop.pay")),
            ScheduleQuery(task_ids=["task 0", "task 3"]),
        )

        for query in asked:
            assert counting.count_capped(query, most) == min(storage.count_schedules(query), most)

    @pytest.fixture
    def walking(self, storage: Storage) -> WalkingStorage:
        if not isinstance(storage, WalkingStorage):
            pytest.skip("this storage looks at all records")
        return storage

    def test_a_tally_looks_at_no_more_records_than_asked(
        self, storage: Storage, walking: WalkingStorage
    ) -> None:
        write_some(storage)
        is_open = TaskQuery(open=True)
        late = samples.after(3)
        asked = (
            (is_open, is_open),
            (replace(is_open, name="shop.b"), is_open),
            (TaskQuery(state=["STARTED", "RETRY"], since=late), replace(is_open, since=late)),
            (TaskQuery(state=SUCCESS, limit=1), TaskQuery()),
            (TaskQuery(state="IGNORED"), TaskQuery(state="IGNORED")),
        )

        orders: tuple[Any, ...] = ("oldest", "newest")
        ways = product(asked, orders, (0, 1, 5, 12, 100))
        for (query, among), order, looked in ways:
            tally = walking.tally(replace(query, order=order), looked)

            seen = storage.find(replace(among, order=order, limit=None))
            matching = {each.task_id for each in storage.find(replace(query, limit=None))}
            states = [each.state for each in seen[:looked] if each.task_id in matching]
            assert tally.by_state == Counter(states)
            assert tally.is_all == (looked > len(seen))

    def test_a_walk_to_the_end_answers_what_is_found(
        self, storage: Storage, walking: WalkingStorage
    ) -> None:
        write_some(storage)
        asked = (
            TaskQuery(open=True),
            TaskQuery(open=True, not_state=(PENDING,)),
            TaskQuery(state="STARTED", name="shop.b", until=samples.after(9)),
            TaskQuery(name="shop.*"),
            TaskQuery(name="nothing"),
        )

        orders: tuple[Any, ...] = ("oldest", "newest")
        ways = product(asked, orders, (1, 3, None), (4, 12, 100))
        for each, order, limit, looked in ways:
            query = replace(each, order=order, limit=limit)
            found: list[TaskRecord] = []
            after, steps = None, 0
            while steps == 0 or after is not None:
                records, after = walking.walk(replace(query, after=after), looked)
                found += records
                steps += 1
                assert limit is None or len(records) <= limit
                assert steps < 200

            assert ids(found) == ids(storage.find(replace(query, limit=None)))

    @pytest.mark.parametrize("call", CALLS)
    def test_a_storage_that_does_not_answer_of_statistics_is_a_storage_error(
        self, unreachable_url: str, opener: OpenStorage, call: str
    ) -> None:
        storage = opener(unreachable_url)
        if not isinstance(storage, StatisticsStorage):
            pytest.skip("this storage makes no statistics")

        must_say_so(storage, CALLS[call])
