"""What somebody asked for, task by task, and why it could not be done to one of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from kombu.exceptions import OperationalError

from fullresult.record.encoding import safe_str
from fullresult.storage import StorageError
from fullresult.web.forms import key_of

BROKER_ERRORS = 3
"""So many in a row, and nobody waits for the broker any longer."""


class NotDone(Exception):
    """One of them could not be done; the message says why."""

    @property
    def is_of_broker(self) -> bool:
        """Whether what it came of says that the broker does not answer."""
        from fullresult.scheduling.sender import BrokerDown

        cause: BaseException | None = self
        while cause is not None:
            if isinstance(cause, (OperationalError, OSError, BrokerDown)):
                return True
            cause = cause.__cause__
        return False


@contextmanager
def sending(task_id: str) -> Iterator[None]:
    """Raises `NotDone`, saying why, where this task could not be sent; lets a `StorageError` go."""
    from fullresult.actions.resend import CannotResend

    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        # Any other lookup that fails does so in a broker's library, which may raise anything.
        if isinstance(error, CannotResend) or type(error) is LookupError:
            raise NotDone(safe_str(error)) from error
        raise NotDone(f"task {task_id}: the broker did not take it: {safe_str(error)}") from error


T = TypeVar("T")
PATIENCE = 4.0
"""Seconds that one request may act; what is left waits for the next."""


class Result(NamedTuple):
    """What became of one task."""

    task_id: str
    new_id: str | None = None
    problem: str | None = None
    """Why it was not done."""


class Batch(NamedTuple):
    """What one request did."""

    results: list[Result]
    unfinished: bool
    """Time was up: there may be more to do."""
    stopped: str | None = None
    """Why it did not go on, where time was not the reason."""

    @property
    def done(self) -> list[Result]:
        return [result for result in self.results if result.problem is None]

    @property
    def failed(self) -> list[Result]:
        return [result for result in self.results if result.problem is not None]

    def left(self, ids: Iterable[str]) -> list[tuple[str, str]]:
        """Those of *ids* that were not tried, as a form sends them once more."""
        tried = {result.task_id for result in self.results}
        return [("key", key_of(task_id)) for task_id in ids if task_id not in tried]


def run(items: Iterable[tuple[str, T]], do: Callable[[T], str | None]) -> Batch:
    """*do* each of *items*, by task id, until time is up; it answers a new id, or raises `NotDone`.

    Where it does, the others go on. Raises `StorageError` only where nothing was tried before.
    """
    results: list[Result] = []
    try:
        return _run(items, do, results)
    except StorageError as error:
        if not results:
            raise
        # What was done is to be told, and written down.
        return Batch(results, unfinished=True, stopped=safe_str(error))


def _run(
    items: Iterable[tuple[str, T]], do: Callable[[T], str | None], results: list[Result]
) -> Batch:
    broken, until = 0, time.monotonic() + PATIENCE
    for task_id, item in items:
        if results and time.monotonic() > until:
            return Batch(results, unfinished=True)
        try:
            results.append(Result(task_id, new_id=do(item)))
            broken = 0
        except NotDone as error:
            results.append(Result(task_id, problem=safe_str(error)))
            broken = broken + 1 if error.is_of_broker else 0
        if broken >= BROKER_ERRORS:
            return Batch(results, unfinished=True, stopped="The broker does not answer.")
    return Batch(results, unfinished=False)
