"""What is published in a Django test stays there: nothing of it reaches a broker."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import ref

from celery import Celery
from celery.utils import uuid
from django.apps import apps
from django.db import connections

from fullresult.django.captured_calls import capturing
from fullresult.django.no_broker import NoProducer
from fullresult.django.open_transactions import transaction_around
from fullresult.django.pools import hold_back, hold_producers
from fullresult.django.results_in_tests import (
    hold_own_backends,
    hold_results,
    make_anew,
)
from fullresult.django.site import alias_of, app_of_site, full_of_site
from fullresult.scheduling.quiet_backend import quiet_backend

_BY_POSITION = 3
"""`send_task(name, args, kwargs, **options)`."""
_BY_NAME = tuple(inspect.signature(Celery.send_task).parameters)[1 + _BY_POSITION :]


_seen: list[ref[Any]] = []
"""The connections of all threads that were opened while tests run."""


def tests_run() -> bool:
    """True if Django's test environment is set up.

    A `mail.outbox` does not say so: a site that keeps its mail in memory has one, too.
    """
    state = getattr(sys.modules.get("django.test.utils"), "_TestState", None)
    return hasattr(state, "saved_data")


def note_connection(connection: Any, **_: Any) -> None:
    """Remember *connection*, which was opened: other threads ask if it is a `TestCase`'s."""
    if not tests_run():
        return
    if all(known() is not connection for known in _seen):
        _seen.append(ref(connection))
    take_hold()


def take_hold() -> None:
    """While tests run, hold what the app and its tasks had made before."""
    if tests_run() and (app := app_of_site()) is not None:
        make_anew(app)
        hold_producers(app, _must_stay)
        hold_own_backends(app, _must_stay, _owners)


def connections_here() -> list[ref[Any]]:
    """Those of this thread. None is opened; one whose driver is missing is left out."""
    found = []
    for alias in connections:
        with suppress(Exception):  # a check says so
            found.append(ref(connections[alias]))
    return found


def stays() -> bool:
    """True in a `TestCase`, which rolls everything back, and in a test without a database.

    So it is in the threads that such a `TestCase` starts, and in its `async` tests, which run in
    one.
    """
    if not tests_run():
        return False
    return _has_no_database() or any(_is_in_testcase(known()) for known in _seen)


def _is_in_testcase(connection: Any) -> bool:
    return bool(_blocks_of_testcase(connection))


def _blocks_of_testcase(connection: Any) -> list[Any]:
    blocks = getattr(connection, "atomic_blocks", ())
    return [block for block in blocks if getattr(block, "_from_testcase", False)]


def _owners() -> list[Any]:
    """With what the results of a test go: `captured_tasks`, and the blocks that roll back."""
    captured = capturing.get()
    blocks = [block for known in _seen for block in _blocks_of_testcase(known())]
    return blocks if captured is None else [captured, *blocks]


def _has_no_database() -> bool:
    """True in a test that may not use the database with the records."""
    alias = alias_of(full_of_site().settings.storage)
    first = [known() for known in apps.get_app_config("fullresult").first_connections]
    return any(
        asked and all(map(_is_forbidden, asked))
        for asked in (_of(alias, connections.all()), _of(alias, filter(None, first)))
    )


def _of(alias: str | None, found: Iterable[Any]) -> list[Any]:
    """The one called *alias*, or all of *found* if none of Django's databases is."""
    return [each for each in found if alias not in connections or each.alias == alias]


def _is_forbidden(connection: Any) -> bool:
    """True where Django or pytest-django has put an error in the place of a method."""
    blocked = getattr(connection.ensure_connection, "__name__", "") == "_blocking_wrapper"
    return blocked or type(connection.connect).__name__ == "_DatabaseFailure"


def _is_recorded() -> bool:
    """True if the record of what is published here goes with the test."""
    here = connections.all(initialized_only=True)
    return not _has_no_database() and any(map(_is_in_testcase, here))


def stay_in_tests(app: Any) -> None:
    """Have what *app* sends go no further in `captured_tasks` and in tests that roll back."""
    app.send_task = _staying(app, app.send_task)
    hold_back(app, _must_stay)
    hold_results(app, _must_stay, tests_run, _owners)


def _must_stay() -> bool:
    return capturing.get() is not None or stays()


def _staying(app: Celery, send_task: Callable[..., Any]) -> Callable[..., Any]:
    def staying_send_task(*given: Any, **options: Any) -> Any:
        captured = capturing.get()
        if captured is None and not stays():
            return send_task(*given, **options)
        take_hold()
        options = {**dict(zip(_BY_NAME, given[_BY_POSITION:], strict=False)), **options}
        given = given[:_BY_POSITION]
        options["task_id"] = options.get("task_id") or uuid()
        if captured is not None:
            captured.keep(given, options, transaction_around(app.fullresult))
        options.pop("connection", None)
        send: Callable[..., Any] = send_task
        if stays() and not _is_recorded():
            send = partial(Celery.send_task, app)  # its record would outlive the test
        with quiet_backend(app):
            return send(*given, **{**options, "producer": NoProducer()})

    return staying_send_task
