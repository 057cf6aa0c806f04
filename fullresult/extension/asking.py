"""Asks workers and the broker what they have now, in about a second, and changes nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, Generic, TypeVar

from celery import Celery

from fullresult.extension.asking_queues import ask_queues
from fullresult.insight.live import COMMAND, Answer, Now, QueueNow, WorkersNow
from fullresult.storage.threads import begin

T = TypeVar("T")

_WAIT = 1.0
"""Seconds in which workers must answer."""
_PATIENCE = 1.5
"""Seconds after which a broker that does not answer is left alone."""
_SILENT = f"the broker did not answer within {_PATIENCE} s"


class Asking:
    """A `fullresult.insight.live.Live` for one app.

    Each question has a connection of its own, in a thread that is left behind where the broker does
    not answer: a client may wait for minutes, whatever timeout it is given.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    def ask(
        self,
        ids: Collection[str],
        expected: Collection[str],
        queues: Collection[str],
        *,
        seek: str | None = None,
    ) -> Now:
        names, until = tuple(queues), time.monotonic() + _PATIENCE
        workers = _Later(lambda: self._ask_workers(ids, expected), WorkersNow((), (), _SILENT))
        broker = _Later(lambda: self._ask_broker(names, seek), _silent(names))
        return Now(workers.result(until), broker.result(until))

    def queues(self, names: Collection[str]) -> tuple[QueueNow, ...]:
        wanted, until = tuple(names), time.monotonic() + _PATIENCE
        return _Later(lambda: self._ask_broker(wanted, None), _silent(wanted)).result(until)

    def everybody(self) -> Now:
        """What all workers answer, also those that do not know the question."""
        until = time.monotonic() + _PATIENCE
        silent = WorkersNow((), (), _SILENT)
        # Not only those expected: a worker without `FullResult` is not.
        asked = _Later(lambda: self._ask_workers((), ()), silent).result(until)
        return Now(asked, ())

    def _ask_workers(self, ids: Collection[str], expected: Collection[str]) -> WorkersNow:
        said: dict[str, Any] = {}
        missing = {*expected}

        def hear(reply: dict[str, Any]) -> None:
            said.update(reply)
            missing.difference_update(reply)
            if expected and not missing:
                raise _AllAnswered

        try:
            with self._app.connection_for_write() as connection, suppress(_AllAnswered):
                self._app.control.broadcast(
                    COMMAND,
                    arguments={"ids": [*ids]},
                    connection=connection,
                    reply=True,
                    timeout=_WAIT,
                    callback=hear,
                )
        except Exception as error:  # noqa: BLE001  (whatever a broker's client raises)
            return WorkersNow((), (), f"the broker cannot be asked: {error}")
        return WorkersNow(
            tuple(Answer.of(name, each) for name, each in sorted(said.items()) if _is_ours(each)),
            tuple(name for name, each in sorted(said.items()) if not _is_ours(each)),
        )

    def _ask_broker(self, names: tuple[str, ...], seek: str | None) -> tuple[QueueNow, ...]:
        try:
            with self._app.connection_for_write() as connection:
                return ask_queues(connection, names, seek)
        except Exception as error:  # noqa: BLE001  (whatever a broker's client raises)
            problem = f"the broker cannot be asked: {error}"
            return tuple(QueueNow(name, problem=problem) for name in names)


def _silent(names: tuple[str, ...]) -> tuple[QueueNow, ...]:
    return tuple(QueueNow(name, problem=_SILENT) for name in names)


def _is_ours(reply: Any) -> bool:
    return isinstance(reply, dict) and "worker_id" in reply


class _AllAnswered(Exception):
    """Every worker that was expected has answered."""


class _Later(Generic[T]):
    """A call in a thread of its own."""

    def __init__(self, call: Callable[[], T], otherwise: T) -> None:
        self._call, self._answer = call, otherwise
        self._done = threading.Event()
        begin(threading.Thread(target=self._run, name="fullresult-asking", daemon=True))

    def _run(self) -> None:
        try:
            self._answer = self._call()
        finally:
            self._done.set()

    def result(self, until: float) -> T:
        """The answer, or what stands for none if there is none by this time."""
        self._done.wait(max(until - time.monotonic(), 0))
        return self._answer
