"""Tasks that are given secrets, and lose them in every way a task can."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from celery import Celery, Task

from tests.apps import scenario_app
from tests.apps.scenario_app import app_of_worker, task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PASSWORD, NUMBER, PIN, SSN = (
    "hunter2hunter2",
    "4111-1111-1111-1111",
    "pin00pin00pin",
    "ssn-123-45-6789",
)
SECRETS = (PASSWORD, NUMBER, PIN, SSN)


def hide_ssn(
    _: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    return args, {key: "gone" if key == "ssn" else value for key, value in kwargs.items()}


RULES = ["password", "**.pin", re.compile(r"\b(?:\d{4}-){3}\d{4}\b"), hide_ssn]


def secrets() -> dict[str, Any]:
    """The keyword arguments of which nothing may be found."""
    return {
        "password": PASSWORD,
        "form": {"people": [{"pin": PIN}], "note": f"paid with {NUMBER}, thanks"},
        "ssn": SSN,
    }


@task()
def take(*_: Any, **given: Any) -> str:
    """Check that a task has what its record has not."""
    return "whole" if {key: given.get(key) for key in secrets()} == secrets() else "not whole"


@task()
def login(user: str, password: str) -> int:
    return len(user + password)


@task()
def give_back(**given: Any) -> Any:
    return given


@task()
def blurt(password: str, **given: Any) -> None:
    raise ValueError(f"bad {password!r} or {given['ssn']} or {given['form']}")


@task()
def shout_nothing(*_: Any) -> str:
    return "nothing"


@task(bind=True, max_retries=1)
def blurt_again(self: Task, **given: Any) -> str:
    if self.request.retries == 0:
        raise self.retry(exc=ValueError(f"bad {given['password']}"), countdown=0)
    return "done"


def make_app(settings: dict[str, Any], *, current: bool = False) -> Celery:
    app = scenario_app.make_app(settings, current=current)
    app.conf.fullresult_redact = RULES
    return app


app = app_of_worker()
if app is not None:
    app.conf.fullresult_redact = RULES
