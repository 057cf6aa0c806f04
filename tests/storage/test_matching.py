"""Queries answered in Python find what SQLite finds."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fullresult.record import SCHEDULED, STATES, TaskRecord, merge
from fullresult.record.schedule import Schedule, ScheduleQuery
from fullresult.storage import FailureStorage, ScheduleStorage, TaskQuery, matching, with_schedules
from fullresult.testing import open_storage, samples
from fullresult.testing.failures import decision, resent
from fullresult.testing.fixtures import thorough

pytestmark = pytest.mark.slow

T = TypeVar("T")

WORDS = ("a", "A", "b", "shop.pay", "shop.refund", "a*b")
VALUES: tuple[Any, ...] = (
    None,
    True,
    1,
    1.0,
    "1",
    [1],
    {"a": 1},
    {"a": 1, "b": {"a": [1, {}]}},
    {},
)
FIELDS = ("queue", "worker", "root_id", "group_id", "retry_of", "fingerprint", "exception_message")
DECISIONS = (decision("a", at=2), decision("A", "muted", at=4), decision("shop.pay", at=0))


def records() -> list[TaskRecord]:
    """Tasks of which few are alike, the same ones each time."""
    dice = random.Random(7)

    def some_words() -> dict[str, Any]:
        return {field: dice.choice([None, *WORDS]) for field in FIELDS}

    tasks = [
        samples.task(
            f"{number}{dice.choice(WORDS)}",
            samples.after(dice.randrange(5)),
            state=dice.choice([*STATES, "PROGRESS"]),
            name=dice.choice([None, *WORDS]),
            args=dice.choice([None, [], dice.choices(VALUES, k=2)]),
            kwargs=dice.choice([None, {}, dict(zip("ab", dice.choices(VALUES, k=2), strict=True))]),
            stale_from=samples.after(dice.randrange(5, 10)),
            **some_words(),
        )
        for number in range(120)
    ]
    again = [
        resent(task, dice.choice(["new", None])) if dice.random() < 0.2 else task for task in tasks
    ]
    tasks = [merge(*both) for both in zip(tasks, again, strict=True)]
    return [*tasks, samples.event("bare"), samples.event("sent", message=samples.message())]


def schedules() -> list[Schedule]:
    """Some of them claimed, and some of tasks that are not there."""
    dice = random.Random(8)
    tasks = [*records(), *(samples.task(f"gone {number}") for number in range(9))]
    return [
        samples.schedule(
            f"{number}",
            samples.after(dice.randrange(5)),
            task_id=dice.choice(tasks).task_id,
            namespace=dice.choice(WORDS[:3]),
        )
        for number in range(80)
    ]


RECORDS, SCHEDULES = records(), schedules()
BY_ID = {record.task_id: record for record in RECORDS}


def maybe(values: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    """Mostly not: a query that asks much finds nothing."""
    return st.one_of(st.none(), st.none(), st.none(), values)


words, dates = st.sampled_from(WORDS), st.integers(-1, 10).map(samples.after)
limits = st.sampled_from([None, 0, 1, 7, 100])
some_states = st.sets(st.sampled_from([*STATES, "PROGRESS"]), max_size=9)

task_queries = st.builds(
    TaskQuery,
    state=maybe(some_states),
    name=maybe(words | st.sampled_from(["*", "shop.*", "[aA]", "a[*]b", "?"])),
    **{field: maybe(words) for field in FIELDS[:6]},
    since=maybe(dates),
    until=maybe(dates),
    text=maybe(words | st.sampled_from(["", "SHOP", "11", "%", "B"])),
    args=maybe(st.lists(st.sampled_from(VALUES), max_size=2)),
    kwargs=maybe(st.dictionaries(st.sampled_from("ab"), st.sampled_from(VALUES))),
    moved_before=maybe(dates),
    open=maybe(st.booleans()),
    unresolved=maybe(st.booleans()),
    not_state=st.just(()) | some_states,
    limit=limits,
    after=maybe(st.sampled_from(RECORDS).map(lambda record: record.cursor)),
    order=st.sampled_from(["newest", "oldest"]),
)
schedule_queries = st.builds(
    ScheduleQuery,
    tasks=maybe(task_queries),
    task_ids=maybe(st.sets(st.sampled_from(sorted(BY_ID)), min_size=20)),
    schedule_ids=maybe(st.sets(st.integers(0, 90).map(str), min_size=10)),
    namespace=maybe(words),
    not_namespace=maybe(words),
    outbox=st.none() | st.booleans(),
    due_until=maybe(dates),
    claimed=maybe(st.booleans()),
    limit=limits,
    after=maybe(st.sampled_from(SCHEDULES).map(lambda schedule: schedule.cursor)),
)


@pytest.fixture(scope="module")
def sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScheduleStorage]:
    """One that has them all."""
    directory = tmp_path_factory.mktemp("matching")
    storage = with_schedules(open_storage(f"sqlite:///{directory / 'tasks.db'}"))
    for schedule in SCHEDULES:
        storage.schedule(schedule, samples.became(schedule.task_id, SCHEDULED))
    storage.delete(TaskQuery(limit=None))
    storage.write(sorted(RECORDS, key=lambda record: record.task_id))
    assert isinstance(storage, FailureStorage)
    for each in DECISIONS:
        storage.keep_decision(each)
    storage.claim_due("a", samples.after(2), "the claim", 9)
    yield storage
    storage.close()


@thorough
@given(query=task_queries)
def test_any_query_for_tasks_finds_what_sqlite_finds(
    sqlite: ScheduleStorage, query: TaskQuery
) -> None:
    found = matching.find(query, RECORDS, DECISIONS)

    assert [each.task_id for each in found] == [each.task_id for each in sqlite.find(query)]
    assert matching.count(query, RECORDS, DECISIONS) == sqlite.count(query)


@thorough
@given(query=schedule_queries)
def test_any_query_for_schedules_finds_what_sqlite_finds(
    sqlite: ScheduleStorage, query: ScheduleQuery
) -> None:
    kept = sqlite.find_schedules(ScheduleQuery(limit=None))

    found = matching.find_schedules(query, kept, BY_ID.get, DECISIONS)

    assert found == sqlite.find_schedules(query)
    assert matching.count_schedules(query, kept, BY_ID.get, DECISIONS) == sqlite.count_schedules(
        query
    )


def test_pages_that_follow_one_another_have_everything_once() -> None:
    query, found = TaskQuery(limit=7), list[TaskRecord]()

    while page := matching.find(query, RECORDS, DECISIONS):
        found += page
        query = replace(query, after=page[-1].cursor)

    assert found == matching.find(TaskQuery(limit=None), RECORDS)
    assert len(found) == len(RECORDS)


def test_a_record_matches_whatever_the_page() -> None:
    query = TaskQuery(queue="a", limit=0)

    assert matching.matches(query, samples.task("task", queue="a"))
    assert not matching.matches(query, samples.task("task", queue="A"))


def test_what_json_cannot_hold_cannot_be_asked_even_where_nothing_is() -> None:
    for value in ("\0", "\ud800", float("nan"), object()):
        query = TaskQuery(kwargs={"key": value})
        with pytest.raises(ValueError, match="cannot search for"):
            matching.count(query, [])
        with pytest.raises(ValueError, match="cannot search for"):
            matching.find_schedules(ScheduleQuery(tasks=query), [], BY_ID.get)
