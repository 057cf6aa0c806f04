"""The keywords of the API are the fields of a query, and a value of a wrong type is named."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta
from typing import Any, get_type_hints

import pytest

from fullresult import TaskQuery
from fullresult.record.filters import PageOfTasks


def test_each_field_of_a_query_is_a_keyword_of_the_same_type() -> None:
    assert set(PageOfTasks.__annotations__) == {field.name for field in fields(TaskQuery)}
    assert get_type_hints(PageOfTasks) == get_type_hints(TaskQuery)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"name": ["a", "b"]}, r"TaskQuery.name must be text, not \['a', 'b'\]"),
        ({"queue": 3}, "TaskQuery.queue must be text, not 3"),
        ({"text": 3}, "TaskQuery.text must be text, not 3"),
        ({"state": 3}, "TaskQuery.state must be a state or several, not 3"),
        ({"state": ["FAILURE", 3]}, "TaskQuery.state must be a state or several, not"),
        ({"not_state": "SUCCESS"}, "TaskQuery.not_state must be several states, not 'SUCCESS'"),
        ({"task_ids": "abc"}, "TaskQuery.task_ids must be several ids, not 'abc'"),
        ({"args": "abc"}, "TaskQuery.args must be a sequence of arguments, not 'abc'"),
        ({"kwargs": "a=1"}, "TaskQuery.kwargs must be a mapping of arguments, not 'a=1'"),
        ({"kwargs": [1]}, "TaskQuery.kwargs must be a mapping"),
        ({"limit": "3"}, "TaskQuery.limit must be a whole number or None, not '3'"),
        ({"limit": True}, "TaskQuery.limit must be a whole number or None, not True"),
        ({"open": "yes"}, "TaskQuery.open must be True, False or None, not 'yes'"),
        ({"after": 3}, "TaskQuery.after must be text, not 3"),
    ],
)
def test_a_value_of_a_wrong_type_is_named(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(TypeError, match=why):
        TaskQuery(**wrong)


@pytest.mark.parametrize("since", ["2h", timedelta(hours=2)])
def test_a_length_of_time_is_no_date(since: Any) -> None:
    with pytest.raises(ValueError, match=r"TaskQuery\.since must be an aware datetime"):
        TaskQuery(since=since)


def test_what_is_right_stays_right() -> None:
    TaskQuery(state={"FAILURE"}, args=(1, "a"), kwargs={}, task_ids=(), not_state=frozenset("ab"))
    TaskQuery(state=(), limit=None, open=False, name="", text="é")
