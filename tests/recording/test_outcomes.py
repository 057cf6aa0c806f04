"""Outcomes: children are bounded, and failures are told as whoever stored them meant them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Retry
from celery.result import AsyncResult, GroupResult

from fullresult.record import SUCCESS
from fullresult.recording.outcomes import (
    MOST_CHILDREN,
    Failure,
    describe,
    describe_children,
    describe_stored,
)
from fullresult.results.meta import bounded_children
from fullresult.testing import samples

APP = Celery("outcomes", broker="memory://", set_as_current=False)


def result(task_id: object, parent: Any = None) -> AsyncResult[Any]:
    return AsyncResult(str(task_id), app=APP, parent=parent)


def group(group_id: str, size: int) -> GroupResult:
    return GroupResult(group_id, [result(f"{group_id}{n}") for n in range(size)], app=APP)


def test_few_children_are_kept_all() -> None:
    assert describe_children([result("a"), group("g", 2)]) == '["a", ["g", ["g0", "g1"]]]'


@pytest.mark.parametrize(
    "children",
    [
        [result(n) for n in range(MOST_CHILDREN + 7)],
        [group("g", MOST_CHILDREN + 7)],
        [result("a"), group("g", MOST_CHILDREN), *(group(f"h{n}", 2) for n in range(3))],
    ],
)
def test_of_very_many_children_the_first_are_kept_and_the_number_of_the_others(
    children: list[Any],
) -> None:
    told = describe_children(children)

    assert told is not None
    outcome = samples.outcome(SUCCESS, children=told)
    record = samples.event("a", outcome=outcome)
    assert len(record.children) == MOST_CHILDREN
    assert record.children_left_out == 7
    assert len(json.loads(told)) <= MOST_CHILDREN + 1


def test_of_very_many_children_a_backend_keeps_the_first_and_no_parents() -> None:
    chord = [result("body", parent=group("g", MOST_CHILDREN))]
    few = [result("b", parent=result("a"))]

    assert bounded_children([each.as_tuple() for each in chord]) == [(("body", None), None)]
    assert bounded_children([each.as_tuple() for each in few]) == [
        (("b", (("a", None), None)), None)
    ]
    many = bounded_children([group("g", MOST_CHILDREN + 1).as_tuple()])
    [(_, members)] = many
    assert len(members) == MOST_CHILDREN


def test_a_retry_without_a_cause_is_told_as_a_retry() -> None:
    """Celery stores the cause, None, while it handles the retry."""
    try:
        raise Retry(when=0.2)
    except Retry:
        told = describe_stored("shop.pay", None, "the traceback", 1000)

    assert told[:3] == ("celery.exceptions.Retry", "Retry in 0.2s", "the traceback")
    assert describe_stored("shop.pay", None, None, 1000) == Failure()


@pytest.mark.parametrize(
    ("meta", "failure"),
    [
        ({"exc_type": "ValueError", "exc_message": "no"}, Failure("ValueError", "no")),
        (
            {"exc_type": "Refused", "exc_module": "shop", "exc_message": ["no"]},
            Failure("shop.Refused", "no"),
        ),
        ({"exc_type": "Refused", "exc_message": ["a", 1]}, Failure("Refused", "['a', 1]")),
        ({"exc_type": "Refused"}, Failure("Refused")),
    ],
)
def test_a_failure_told_by_a_meta_has_the_type_that_it_says(
    meta: dict[str, Any], failure: Failure
) -> None:
    assert describe_stored("shop.pay", meta, None, 1000)[:3] == failure[:3]


def test_what_such_a_meta_hides_is_hidden() -> None:
    meta = {"exc_type": "ValueError", "exc_message": ["bad token hunter2"]}

    told = describe_stored(
        "shop.pay", meta, None, 1000, lambda text: text.replace("hunter2", "***")
    )

    assert told.exception_message == "bad token ***"


def test_the_group_of_an_error_is_made_of_what_may_be_kept() -> None:
    """Nothing that is hidden goes into it, where the message counts."""

    def lost(secret: str) -> Failure:
        error = RuntimeError(f"token {secret} of worker 12")
        return describe("shop.pay", error, None, 1000, lambda text: text.replace(secret, "***"))

    assert lost("hunter").fingerprint == lost("swordfish").fingerprint
    assert lost("hunter").exception_message == "token *** of worker 12"
