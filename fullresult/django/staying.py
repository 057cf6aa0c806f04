"""What is published in a Django test stays there: nothing of it reaches a broker."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

from celery import Celery
from celery.utils import uuid
from django.core import mail
from django.db import connections

from fullresult.scheduling.quiet_backend import quiet_backend

if TYPE_CHECKING:
    from typing_extensions import Self

    from fullresult.django.captured_calls import CapturedTasks

capturing: ContextVar[CapturedTasks | None] = ContextVar("fullresult_captured", default=None)
_BY_POSITION = 3
"""`send_task(name, args, kwargs, **options)`."""
_BY_NAME = tuple(inspect.signature(Celery.send_task).parameters)[1 + _BY_POSITION :]


def tests_run() -> bool:
    """True if Django's test environment is set up: then its mail stays in `mail.outbox`."""
    return hasattr(mail, "outbox")


def stays() -> bool:
    """True in a `TestCase`, which rolls everything back, and in a test without a database."""
    return tests_run() and any(map(_is_of_test, connections.all(initialized_only=True)))


def _is_of_test(connection: Any) -> bool:
    blocks = getattr(connection, "atomic_blocks", ())
    return _has_no_database(connection) or any(
        getattr(block, "_from_testcase", False) for block in blocks
    )


def _has_no_database(connection: Any) -> bool:
    """True where Django has put an error in the place of `connect`."""
    return type(connection.connect).__name__ == "_DatabaseFailure"


def stay_in_tests(app: Celery, send_task: Callable[..., Any]) -> Callable[..., Any]:
    """*send_task*, whose messages go no further in `captured_tasks` and in tests that roll back."""

    def staying_send_task(*given: Any, **options: Any) -> Any:
        captured = capturing.get()
        if captured is None and not stays():
            return send_task(*given, **options)
        options = {**dict(zip(_BY_NAME, given[_BY_POSITION:], strict=False)), **options}
        given = given[:_BY_POSITION]
        options["task_id"] = options.get("task_id") or uuid()
        if captured is not None:
            captured.keep(given, options)
        options.pop("connection", None)
        send: Callable[..., Any] = send_task
        if any(map(_has_no_database, connections.all(initialized_only=True))):
            send = partial(Celery.send_task, app)  # not recorded either
        with quiet_backend(app):
            return send(*given, **{**options, "producer": _NoProducer(app)})

    return staying_send_task


class _NoProducer:
    """Stands in for kombu's producer, and sends nothing."""

    serializer = compression = None
    auto_declare = False

    def __init__(self, app: Celery) -> None:
        self.connection = app.connection_for_write()  # never opened

    def publish(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass
