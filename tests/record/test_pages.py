"""Pages are walked over anything with a cursor."""

from __future__ import annotations

from dataclasses import replace

from fullresult.record import Schedule, ScheduleQuery, TaskQuery, TaskRecord, pages
from fullresult.storage import matching
from fullresult.testing import samples

RECORDS = [samples.task(f"{number}", samples.after(number)) for number in range(7)]
SCHEDULES = [samples.schedule(f"{number}", samples.after(-number)) for number in range(7)]


def test_records_are_walked_from_page_to_page() -> None:
    asked: list[str | None] = []

    def find(query: TaskQuery) -> list[TaskRecord]:
        asked.append(query.after)
        return matching.find(query, RECORDS)

    walked = list(pages.walk(find, TaskQuery(limit=3, order="oldest")))

    assert walked == RECORDS
    assert asked == [None, *(RECORDS[place].cursor for place in (2, 5, 6))]


def test_schedules_are_walked_the_same_way() -> None:
    def find(query: ScheduleQuery) -> list[Schedule]:
        return matching.find_schedules(query, SCHEDULES, lambda _: None)

    assert list(pages.walk(find, ScheduleQuery(limit=2))) == SCHEDULES[::-1]


def test_a_walk_may_begin_behind_a_cursor() -> None:
    query = TaskQuery(limit=2, order="oldest")

    rest = pages.walk(
        lambda query: matching.find(query, RECORDS), replace(query, after=RECORDS[3].cursor)
    )

    assert list(rest) == RECORDS[4:]
