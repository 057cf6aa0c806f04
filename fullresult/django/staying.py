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

from fullresult.django.no_broker import NoProducer, no_broker
from fullresult.scheduling.quiet_backend import quiet_backend

if TYPE_CHECKING:
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


def stay_in_tests(app: Any) -> None:
    """Have what *app* sends go no further in `captured_tasks` and in tests that roll back."""
    app.send_task = _staying(app, app.send_task)
    # Re-sends and scheduled messages go past send_task.
    producer_or_acquire, connection_for_write = app.producer_or_acquire, app.connection_for_write

    def staying_producer(producer: Any = None) -> Any:
        stays_here = producer is None and _must_stay()
        return NoProducer() if stays_here else producer_or_acquire(producer)

    def staying_connection(*given: Any, **options: Any) -> Any:
        return no_broker() if _must_stay() else connection_for_write(*given, **options)

    app.producer_or_acquire, app.connection_for_write = staying_producer, staying_connection


def _must_stay() -> bool:
    return capturing.get() is not None or stays()


def _staying(app: Celery, send_task: Callable[..., Any]) -> Callable[..., Any]:
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
            return send(*given, **{**options, "producer": NoProducer()})

    return staying_send_task
