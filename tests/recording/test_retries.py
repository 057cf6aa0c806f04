"""What a publisher hid of a task's arguments is hidden of every retry, wherever that waits."""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from celery import Celery, Task, _state

from fullresult import FullResult
from fullresult.recording.capture import hidden_in
from fullresult.recording.running_tasks import request_of
from tests.kit import leaks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "hunter2hunter2"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/records.db"


@contextmanager
def shop(url: str, **settings: Any) -> Iterator[Any]:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(task_default_queue=uuid4().hex, fullresult_storage=url, **settings)

    @app.task(name="shop.login", bind=True, max_retries=None)  # type: ignore[untyped-decorator]
    def login(self: Task, user: str, password: str) -> None: ...

    with closing(FullResult(app)), app:
        yield app


@contextmanager
def running(app: Any, **request: Any) -> Iterator[Task]:
    """The task as a worker runs it, by a message that says all this."""
    task: Task = app.tasks["shop.login"]
    known = {"id": "one", "task": task.name, "called_directly": False, "retries": 0, **request}
    task.push_request(**known)
    _state._task_stack.push(task)
    try:
        yield task
    finally:
        _state._task_stack.pop()
        task.pop_request()


HIDDEN = {"args": ["ada", SECRET], "kwargs": {}, "argsrepr": "('ada', …)", "kwargsrepr": "{}"}


@pytest.mark.parametrize("countdown", [0, 3600])
def test_a_retry_with_a_countdown_hides_what_its_first_message_hid(
    url: str, countdown: float
) -> None:
    with shop(url, fullresult_schedule_eta=True, fullresult_spool_directory=None) as app:
        with running(app, **HIDDEN) as task:
            task.retry(countdown=countdown, throw=False)
        record = app.fullresult.get("one")
        scheduled = app.fullresult.scheduled()

    assert record.notes["args"].startswith("hidden")
    assert "argsrepr" in record.headers
    assert record.headers["argsrepr"] == "('ada', …)"
    assert scheduled == []
    assert leaks.found((SECRET,), leaks.everything(url)) == []


def test_a_retry_that_waits_in_the_spool_hides_it_too(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    dead = "sqlite:////no/such/directory/records.db"
    with shop(dead, fullresult_spool_directory=str(spool)) as app:
        with running(app, **HIDDEN) as task:
            task.retry(countdown=60, throw=False)
        held = leaks.files(spool)

    assert b"shop.login" in held
    assert leaks.found((SECRET,), held) == []


def test_a_retry_of_nothing_hidden_is_recorded_whole(url: str) -> None:
    plain = {**HIDDEN, "argsrepr": repr(tuple(HIDDEN["args"]))}
    with shop(url) as app:
        with running(app, **plain) as task:
            task.retry(countdown=0, throw=False)
        record = app.fullresult.get("one")

    assert record.args == HIDDEN["args"]


def test_what_a_task_calls_and_what_replaces_it_has_its_own_say(url: str) -> None:
    with shop(url) as app, running(app, **HIDDEN) as task:
        other = task.apply_async(("bob", "his own"))
        app.send_task("shop.other", ("eve",), task_id="one")

        assert app.fullresult.get(other.id).args == ["bob", "his own"]
        assert app.fullresult.get("one").args == ["eve"]


def test_a_publish_outside_a_task_is_no_retry() -> None:
    assert request_of("one") is None


@pytest.mark.parametrize("size", [1_000, 1_000_000])
def test_to_tell_what_is_hidden_takes_no_time_that_grows_with_the_arguments(size: int) -> None:
    from celery.app.task import Context
    from celery.utils.saferepr import saferepr

    args = [{"number": number, "text": "x" * 20} for number in range(size // 40)]
    plain = Context({"args": args, "kwargs": {}, "argsrepr": saferepr(tuple(args), 1024)})
    hidden = Context({"args": args, "kwargs": {}, "argsrepr": "…"})
    began = time.perf_counter()

    told = [sorted(hidden_in(plain)), sorted(hidden_in(hidden))]

    assert told == [[], ["args"]]
    assert time.perf_counter() - began < 0.5
