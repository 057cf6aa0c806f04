"""The repr of arguments that a message brings: of other languages, of values that JSON changes."""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from celery.app.task import Context
from celery.utils.saferepr import saferepr

from fullresult.record import encoding
from fullresult.recording.capture import hidden_in
from fullresult.recording.given_repr import tells_all

PARIS = datetime(2026, 1, 2, 3, 4, 5, tzinfo=ZoneInfo("Europe/Paris"))


def decoded(value: Any) -> Any:
    """*value* as a worker sees it."""
    return encoding.loads(encoding.dumps(value))


def hidden(args: Any, argsrepr: Any, **headers: Any) -> bool:
    request = Context(args=args, kwargs={}, argsrepr=argsrepr, **headers)
    return "args" in hidden_in(request)


@pytest.mark.parametrize(
    ("args", "given"),
    [
        (["ada", 5, True, None, 1.5], '["ada", 5, true, null, 1.5]'),  # Java
        (["ada", 5, True, None, 1.5], "[ada 5 true <nil> 1.5]"),  # Go
        ([{"b": 1, "a": "x"}], '[{"a":"x","b":1}]'),
        (["é ☃ \n", 'a"b'], json.dumps(["é ☃ \n", 'a"b'])),
        (["é ☃ \n", 'a"b'], json.dumps(["é ☃ \n", 'a"b'], ensure_ascii=False)),
        ([""], '[""]'),
        ([], ""),
    ],
)
def test_what_another_language_writes_hides_nothing(args: Any, given: str) -> None:
    assert not hidden(args, given)


@pytest.mark.parametrize(
    "args", [(PARIS,), (PARIS.timetz(),), (date(2026, 1, 2),), ({1: "a"},), ((1, (2,)),)]
)
def test_what_json_changes_hides_nothing(args: Any) -> None:
    """Of a publisher without fullresult."""
    assert not hidden(decoded(args), saferepr(args))


def test_an_empty_repr_of_another_language_says_nothing() -> None:
    assert not hidden(["ada", "hunter2"], "", lang="java")
    assert hidden(["ada", "hunter2"], "", lang="py")
    assert hidden(["ada", "hunter2"], "")


@pytest.mark.parametrize(
    ("args", "given"),
    [
        (["ada", "hunter2"], "('ada', …)"),
        (["ada", "hunter2"], '["ada", "***"]'),
        (["ada", "ada"], "('ada', '***')"),  # the second could have been anything
        (["ada", 1234], "('ada', '****51234')"),
        (["ada", 12], "('ada', 12.5)"),
        (["ada", 4], "('ada', '***') v4.2"),
        (["ada", "pin"], "('ada', 'spinning')"),
        (["ada", True], "('ada', '***')"),
        ([{"password": "x1"}], "({'password': '***'},)"),
        (["ada", None], "('ada', '***')"),
    ],
)
def test_a_value_that_cannot_be_read_was_hidden(args: Any, given: str) -> None:
    assert hidden(args, given)


def test_a_long_text_is_not_searched() -> None:
    """The cost stays small whatever a message brings."""
    values = list(range(100_000))

    assert not tells_all(str(values), values)
    assert not tells_all("x" * 2_000, values)
    assert tells_all(str(values[:400]), values[:400])
