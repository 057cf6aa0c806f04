"""Exceptions as a result backend gives them back: themselves where they can be."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from billiard.exceptions import WorkerLostError
from celery import Celery
from celery.exceptions import (
    ChordError,
    MaxRetriesExceededError,
    SecurityError,
    SoftTimeLimitExceeded,
    TaskRevokedError,
    TimeLimitExceeded,
)
from celery.exceptions import TimeoutError as GetTimeout

from tests.kit.backend_contract import Contract, Place, fail, new_id, request_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class OrderError(Exception):
    """An application's own."""

    def __init__(self, order: int, reason: str) -> None:
        super().__init__(order, reason)
        self.order = order


class FormattedError(Exception):
    """One whose arguments are not those of its constructor: a usual mistake."""

    def __init__(self, order: int, reason: str) -> None:
        super().__init__(f"order {order}: {reason}")


class Shop:
    class ClosedError(Exception):
        """One with a qualified name."""


def local_error() -> Exception:
    """One whose class nobody can import."""

    class LocalError(Exception):
        pass

    return LocalError("local", 7)


EXCEPTIONS: dict[str, BaseException] = {
    "plain": ValueError("broken"),
    "no arguments": ValueError(),
    "several arguments": RuntimeError("a", 1, None, [2.5]),
    "KeyError": KeyError("key"),
    "OSError": OSError(2, "No such file", "x.txt"),
    "unicode": ValueError("é ☃ 😀"),
    "NUL": ValueError("a\x00b"),
    "long": ValueError("x" * 2_000_000),
    "quotes": ValueError("'\"\\ %s %(x)s $1 {0}"),
    "empty message": ValueError(""),
    "own": OrderError(7, "sold out"),
    "qualified": Shop.ClosedError("sunday"),
    "AssertionError": AssertionError(),
    "ZeroDivisionError": ZeroDivisionError("division by zero"),
    "SoftTimeLimitExceeded": SoftTimeLimitExceeded(),
    "TimeLimitExceeded": TimeLimitExceeded(3),
    "WorkerLostError": WorkerLostError("Worker exited prematurely: signal 9 (SIGKILL) Job: 0."),
    "MaxRetriesExceededError": MaxRetriesExceededError("Can't retry"),
    "TaskRevokedError": TaskRevokedError("terminated"),
    "ChordError": ChordError("Dependency x raised ValueError('y')"),
    "TimeoutError of Celery": GetTimeout("The operation timed out."),
    "bytes": ValueError(b"\x00\xff"),
}


def got(app: Celery, place: Place, error: BaseException, **settings: Any) -> BaseException:
    """*error* as another app reads it."""
    task_id = fail(app, error)
    with place.app(**settings) as reader:
        result: BaseException = reader.AsyncResult(task_id).get(timeout=5, propagate=False)
        return result


class TestExceptions(Contract):
    """They come back with their type and arguments, by JSON and by pickle."""

    @pytest.fixture(params=["json", "pickle", "yaml"])
    def settings(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        accept = ["json", request.param]
        return {"result_serializer": request.param, "result_accept_content": accept}

    @pytest.fixture
    def app(self, place: Place, settings: dict[str, Any]) -> Iterator[Celery]:
        with place.app(**settings) as app:
            yield app

    def test_they_come_back_as_themselves(
        self, app: Celery, place: Place, settings: dict[str, Any]
    ) -> None:
        known = dict(EXCEPTIONS)
        if settings["result_serializer"] == "yaml":
            del known["long"]  # It takes a minute.
        ids = {name: fail(app, error) for name, error in known.items()}

        with place.app(**settings) as reader:
            results = {
                name: reader.AsyncResult(ids[name]).get(timeout=5, propagate=False)
                for name in known
            }

        told = {name: (type(error), repr(error)) for name, error in results.items()}
        assert told == {name: (type(error), repr(error)) for name, error in known.items()}

    def test_get_raises_them(self, app: Celery) -> None:
        result = app.AsyncResult(fail(app, OrderError(7, "sold out")))

        with pytest.raises(OrderError) as caught:
            result.get(timeout=5)

        assert caught.value.args == (7, "sold out")
        assert caught.value.order == 7

    def test_the_traceback_is_kept(
        self, app: Celery, place: Place, settings: dict[str, Any]
    ) -> None:
        """As text, with whatever the source lines hold, and however long."""
        task_id = new_id()
        told = 'Traceback:\n  File "é.py", line 1\n☃ %s $1 \\\n' + "  line\n" * 50_000
        app.backend.mark_as_failure(task_id, ValueError("x"), traceback=told)

        with place.app(**settings) as reader:
            assert reader.AsyncResult(task_id).traceback == told

    def test_a_traceback_that_databases_refuse(self, app: Celery) -> None:
        """A record escapes what no database holds in a text."""
        task_id = new_id()
        app.backend.mark_as_failure(task_id, ValueError("x"), traceback="before\x00after")

        assert app.backend.get_traceback(task_id) in {"before\x00after", "before\\x00after"}

    def test_a_class_that_cannot_be_imported(
        self, app: Celery, place: Place, settings: dict[str, Any]
    ) -> None:
        """Something that says what it was comes back, and `get` raises it."""
        error = got(app, place, local_error(), **settings)

        assert isinstance(error, Exception)
        assert "LocalError" in repr(error) or "LocalError" in type(error).__name__
        assert "local" in str(error)

    def test_an_argument_that_cannot_be_stored(
        self, app: Celery, place: Place, settings: dict[str, Any]
    ) -> None:
        error = got(app, place, ValueError("locked", threading.Lock()), **settings)

        assert isinstance(error, Exception)
        assert "ValueError" in repr(error) or isinstance(error, ValueError)
        assert "locked" in str(error)

    def test_arguments_that_its_constructor_does_not_take(
        self, app: Celery, place: Place, settings: dict[str, Any]
    ) -> None:
        error = got(app, place, FormattedError(7, "sold out"), **settings)

        assert "FormattedError" in repr(error)
        assert "order 7: sold out" in str(error)

    def test_a_cause(self, app: Celery, place: Place, settings: dict[str, Any]) -> None:
        """What it was raised from is in the traceback; the exception comes back alone."""
        try:
            try:
                raise KeyError("inner")
            except KeyError as inner:
                raise OrderError(7, "outer") from inner
        except OrderError as caught:
            error = got(app, place, caught, **settings)

        assert isinstance(error, OrderError)
        assert error.args == (7, "outer")


class TestFromOutside(Contract):
    """Failures that something else wrote: another language, another version, an attacker."""

    def store(self, app: Celery, error: object) -> str:
        task_id = new_id()
        app.backend.store_result(task_id, error, "FAILURE", request=request_of(task_id))
        return task_id

    def test_a_class_of_another_language(self, app: Celery) -> None:
        described = {"exc_type": "IOException", "exc_message": ["no"], "exc_module": "java.io"}

        error = app.AsyncResult(self.store(app, described)).result

        assert isinstance(error, Exception)
        assert type(error).__name__ == "IOException"
        assert error.args == ("no",)

    def test_without_a_module(self, app: Celery) -> None:
        described = {"exc_type": "IOException", "exc_message": "no", "exc_module": None}

        error = app.AsyncResult(self.store(app, described)).result

        assert type(error).__name__ == "IOException"
        assert str(error) == "no"

    def test_a_module_that_is_not_loaded_is_not_loaded(self, app: Celery) -> None:
        """A class is looked for among what is imported already."""
        described = {"exc_type": "Error", "exc_message": ["no"], "exc_module": "antigravity"}

        error = app.AsyncResult(self.store(app, described)).result

        assert type(error).__name__ == "Error"

    def test_what_is_no_exception_is_not_called(self, app: Celery, tmp_path: Any) -> None:
        """A stored failure that names `os.system` runs nothing."""
        described = {
            "exc_type": "system",
            "exc_message": f"touch {tmp_path}/called",
            "exc_module": os.__name__,
        }
        result = app.AsyncResult(self.store(app, described))

        with pytest.raises(SecurityError):
            result.get(timeout=1)

        assert not (tmp_path / "called").exists()


class TestOtherEnds(Contract):
    """What `get` raises of tasks that neither succeed nor fail."""

    def test_get_of_a_revoked_task_raises(self, app: Celery) -> None:
        task_id = new_id()
        app.backend.mark_as_revoked(task_id, "terminated", request=request_of(task_id))

        with pytest.raises(TaskRevokedError, match="terminated"):
            app.AsyncResult(task_id).get(timeout=1)

    def test_get_of_a_revoked_task_without_propagating(self, app: Celery) -> None:
        task_id = new_id()
        app.backend.mark_as_revoked(task_id, "revoked", request=request_of(task_id))

        error = app.AsyncResult(task_id).get(timeout=1, propagate=False)

        assert isinstance(error, TaskRevokedError)

    def test_revoked_without_a_request(self, app: Celery) -> None:
        """As the worker's main process does with what it terminated."""
        task_id = new_id()
        app.backend.mark_as_revoked(task_id, "terminated")

        assert app.AsyncResult(task_id).state == "REVOKED"

    def test_a_parent_that_failed_is_raised(self, app: Celery) -> None:
        """The rest of a chain never runs; waiting for it must not hang."""
        parent = app.AsyncResult(fail(app, OrderError(1, "first")))
        last = app.AsyncResult(new_id(), parent=app.AsyncResult(new_id(), parent=parent))

        with pytest.raises(OrderError):
            last.get(timeout=5)

    def test_a_parent_that_failed_is_not_raised_unless_asked(self, app: Celery) -> None:
        parent = app.AsyncResult(fail(app, OrderError(1, "first")))
        last = app.AsyncResult(new_id(), parent=parent)

        with pytest.raises(GetTimeout):
            last.get(timeout=0.1, follow_parents=False)
