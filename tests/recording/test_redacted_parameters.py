"""The parameters of a task are asked for once, and again when another task has its name."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from fullresult.config.redaction_rules import PathRule, read_rules
from fullresult.recording.masking import MARK
from fullresult.recording.redacted_arguments import RedactedArguments


class Unhashable:
    """A function that a decorator may have made."""

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, order: int, card: str) -> None: ...


@pytest.fixture
def app() -> Celery:
    return Celery("shop", set_as_current=False)


@pytest.fixture
def redacted(app: Celery) -> RedactedArguments:
    rules = [rule for rule in read_rules(["card"]) if isinstance(rule, PathRule)]
    return RedactedArguments(app, rules, [])


def hidden(redacted: RedactedArguments, *args: Any) -> list[Any]:
    return [*redacted.of_task("shop.pay", args, {})[0]]


def test_a_task_that_takes_the_name_of_another_has_its_own_parameters(
    app: Celery, redacted: RedactedArguments
) -> None:
    def pay(order: int, card: str) -> None: ...

    def pay_again(card: str, order: int) -> None: ...

    app.task(name="shop.pay")(pay)
    first = hidden(redacted, 1, "4711"), hidden(redacted, 2, "4712")
    app.finalize()
    app.tasks.unregister("shop.pay")
    app.task(name="shop.pay")(pay_again)

    assert first == ([1, MARK], [2, MARK])
    assert hidden(redacted, "4711", 1) == [MARK, 1]


def test_a_function_that_cannot_be_hashed_has_parameters_too(
    app: Celery, redacted: RedactedArguments
) -> None:
    def pay(order: int, card: str) -> None: ...

    app.task(name="shop.pay")(pay).run = Unhashable()

    assert hidden(redacted, 1, "4711") == hidden(redacted, 1, "4711") == [1, MARK]
