"""Results and chords while the storage does not answer: they wait in the spool, and no task."""

from __future__ import annotations

import logging
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, states
from celery.app.task import Context
from celery.canvas import Signature

from fullresult import FullResult
from tests.kit.workers import until


def make_app(file: Path, **settings: Any) -> Celery:
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.update(
        fullresult_storage=f"sqlite:///{file}",
        fullresult_storage_timeout=0.2,
        result_backend="fullresult://",
        task_default_queue=f"queue-{uuid.uuid4()}",
    )
    app.conf.update(settings)
    app.task(name="shop.total", shared=False)(sum)
    FullResult(app).setup()
    return app


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "records.db"


@pytest.fixture
def app(file: Path) -> Iterator[Celery]:
    with make_app(file) as app:
        yield app
        app.fullresult.close()


@contextmanager
def away(file: Path) -> Iterator[None]:
    """Somebody else has the file for himself."""
    with closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as locking:
        locking.execute("BEGIN EXCLUSIVE")
        yield


def request_of(task_id: str, **known: Any) -> Context:
    return Context({"id": task_id, "task": "shop.add", "args": [], "kwargs": {}, **known})


def waiting(app: Celery) -> int:
    """How many messages are in the queue."""
    with app.connection_for_read() as connection:
        return int(connection.SimpleQueue(app.conf.task_default_queue).qsize())


def test_a_result_that_the_storage_does_not_take_is_there_when_it_does(
    app: Celery, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    value = {"total": [1, 2], "of": "a" * 300}
    with away(file):
        app.backend.store_result("a", value, states.SUCCESS, request=request_of("a"))
        app.backend.mark_as_failure("b", ValueError("no"), request=request_of("b"))

    assert app.AsyncResult("a").get(timeout=20) == value
    with pytest.raises(ValueError, match="no"):
        app.AsyncResult("b").get(timeout=20)
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


def test_that_the_backend_always_retries_comes_first(app: Celery, file: Path) -> None:
    """And the spool in the end."""
    app.backend.always_retry, app.backend.max_retries = True, 2
    slept: list[float] = []
    app.backend._sleep = slept.append
    with away(file):
        app.backend.store_result("a", 7, states.SUCCESS, request=request_of("a"))

    assert len(slept) == 2
    assert app.AsyncResult("a").get(timeout=20) == 7


def test_without_a_spool_the_log_says_what_is_not_stored(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with make_app(file, fullresult_spool_directory=None) as app:
        with away(file):
            app.backend.store_result("a", 7, states.SUCCESS, request=request_of("a"))

        assert app.fullresult.get("a") is None
        assert "the result of task a is not stored" in caplog.text
        app.fullresult.close()


def chord_of(app: Celery, members: int) -> tuple[str, Signature]:
    """The id of a chord whose members are yet to end, and its body as they have it."""
    group_id = str(uuid.uuid4())
    results = [app.AsyncResult(f"{group_id}-{number}") for number in range(members)]
    body = app.signature("shop.total", task_id=f"{group_id}-body")
    body["chord_size"] = members
    app.backend.apply_chord((group_id, results), body)
    return group_id, body


def end(app: Celery, group_id: str, body: Signature, number: int) -> None:
    """What a worker does at the end of a member."""
    task_id = f"{group_id}-{number}"
    known = {"group": group_id, "group_index": number, "chord": body, "ignore_result": False}
    request = request_of(task_id, **known)
    app.backend.mark_as_done(task_id, number, request=request)


def test_a_chord_whose_members_end_while_the_storage_is_away_goes_on_when_it_answers(
    app: Celery, file: Path
) -> None:
    group_id, body = chord_of(app, 3)
    end(app, group_id, body, 0)
    with away(file):
        began = time.monotonic()
        end(app, group_id, body, 1)
        end(app, group_id, body, 2)
        assert time.monotonic() - began < 3

    assert until(lambda: waiting(app) == 1)

    record = app.fullresult.get(f"{group_id}-body")
    assert record is not None
    assert record.args == [[0, 1, 2]]


def test_spooled_members_make_their_chord_go_on_once(file: Path) -> None:
    with make_app(file, fullresult_write_mode="spooled") as app:
        group_id, body = chord_of(app, 20)
        for number in range(20):
            end(app, group_id, body, number)

        assert until(lambda: waiting(app) == 1)

        assert until(lambda: app.fullresult.get(f"{group_id}-body"))
        record = app.fullresult.get(f"{group_id}-body")
        assert record.args == [list(range(20))]
        app.fullresult.close()
        assert waiting(app) == 1


def test_a_spooled_result_is_what_get_returns(file: Path) -> None:
    with make_app(file, fullresult_write_mode="spooled") as app:
        app.backend.store_result("a", [1, "two"], states.SUCCESS, request=request_of("a"))

        assert app.AsyncResult("a").get(timeout=20) == [1, "two"]
        app.fullresult.close()
