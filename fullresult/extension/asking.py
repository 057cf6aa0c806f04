"""Asks workers and the broker what they have now, in about a second, and changes nothing."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar
from urllib.parse import unquote

from celery import Celery
from kombu import Connection

from fullresult.extension.asking_queues import ask_queues
from fullresult.insight.live import COMMAND, Answer, Now, QueueNow, WorkersNow
from fullresult.record.encoding import safe_str
from fullresult.storage.threads import begin_in

T = TypeVar("T")

_WAIT = 1.0
"""Seconds in which workers must answer."""
_PATIENCE = 1.5
"""Seconds after which a broker that does not answer is left alone."""
_LONGEST = 300
"""Characters of an error that are shown."""
_SHORTEST = 3
"""A password of fewer characters is not looked for in an error: it would be found anywhere."""
_MOST_LEFT = 16
"""Questions of one process that a broker may leave without an answer; more are not asked."""
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
        workers = self._begin(ids, expected)
        broker = Later(lambda: self._ask_broker(names, seek), _silent(names))
        return Now(workers(until), broker.result(until))

    def queues(self, names: Collection[str]) -> tuple[QueueNow, ...]:
        wanted, until = tuple(names), time.monotonic() + _PATIENCE
        return Later(lambda: self._ask_broker(wanted, None), _silent(wanted)).result(until)

    def everybody(self) -> Now:
        """What all workers answer, also those that do not know the question."""
        until = time.monotonic() + _PATIENCE
        # Not only those expected: a worker without `FullResult` is not.
        return Now(self._begin((), ())(until), ())

    def _begin(
        self, ids: Collection[str], expected: Collection[str]
    ) -> Callable[[float], WorkersNow]:
        """Begin to ask the workers; the answer says by a time what was heard until then."""
        said: list[tuple[str, Any]] = []
        silent = WorkersNow((), (), _SILENT)
        asked = Later(lambda: self._ask_workers(ids, expected, said), silent)

        def heard(until: float) -> WorkersNow:
            answer = asked.result(until)
            # Each reply has Celery wait a second more: for one worker that is mute, all others.
            return told_by([*said]) if answer is silent and said else answer

        return heard

    def _ask_workers(
        self, ids: Collection[str], expected: Collection[str], said: list[tuple[str, Any]]
    ) -> WorkersNow:
        missing = Counter(expected)

        def hear(reply: object) -> None:
            heard = replies_in(reply)
            said.extend(heard.items())
            missing.subtract(heard.keys() & missing.keys())
            if expected and not +missing:
                raise _AllAnswered

        try:
            with self._connected() as connection, suppress(_AllAnswered):
                self._app.control.broadcast(
                    COMMAND,
                    arguments={"ids": [*ids]},
                    connection=connection,
                    reply=True,
                    timeout=_WAIT,
                    callback=hear,
                )
        except Exception as error:  # noqa: BLE001  (whatever a broker's client raises)
            return WorkersNow((), (), self.problem(error))
        return told_by(said)

    def _ask_broker(self, names: tuple[str, ...], seek: str | None) -> tuple[QueueNow, ...]:
        try:
            with self._connected() as connection:
                return ask_queues(connection, names, seek, time.monotonic() + _PATIENCE)
        except Exception as error:  # noqa: BLE001  (whatever a broker's client raises)
            problem = self.problem(error)
            return tuple(QueueNow(name, problem=problem) for name in names)

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """A connection that is there: one that is not, kombu would try to make for ever."""
        with self._app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=_PATIENCE)
            yield connection

    def problem(self, error: Exception) -> str:
        """Why the broker cannot be asked. A client may show a wrong URL, with its password."""
        told = safe_str(error)
        conf = self._app.conf
        for secret in _secrets(conf.broker_write_url, conf.broker_url, conf.broker_password):
            told = told.replace(secret, "***")
        return f"the broker cannot be asked: {told[:_LONGEST]}"


def _silent(names: tuple[str, ...]) -> tuple[QueueNow, ...]:
    return tuple(QueueNow(name, problem=_SILENT) for name in names)


def replies_in(reply: object) -> dict[str, Any]:
    """What a reply says, by the name of the worker; anybody may write to the broker."""
    given = reply if isinstance(reply, Mapping) else {}
    return {name: each for name, each in given.items() if isinstance(name, str)}


def told_by(said: Iterable[tuple[str, Any]]) -> WorkersNow:
    """*said*, sorted: answers, workers that do not know the question, and those that failed.

    Of workers that share a node name, each has its own.
    """
    replies = sorted(said, key=lambda reply: reply[0])
    others = [(name, each) for name, each in replies if not _is_ours(each)]
    return WorkersNow(
        tuple(Answer.of(name, each) for name, each in replies if _is_ours(each)),
        tuple(name for name, each in others if not _is_failure(each)),
        failed=tuple(name for name, each in others if _is_failure(each)),
    )


def _is_ours(reply: Any) -> bool:
    return isinstance(reply, Mapping) and isinstance(reply.get("worker_id"), str)


def _is_failure(reply: Any) -> bool:
    """True if a worker that knows the question could not answer it."""
    error = reply.get("error") if isinstance(reply, Mapping) else None
    # Celery answers so for a command that it does not know.
    return isinstance(error, str) and not ("KeyError" in error and COMMAND in error)


def _secrets(*given: object) -> list[str]:
    """The passwords in *given*, and the URLs that have one, the longest first."""
    found: set[str] = set()
    for text in (each for one in given for each in (one if isinstance(one, list) else [one])):
        if isinstance(text, str) and text:
            found |= {text, *_parts(text)}
    return sorted((each for each in found if len(each) >= _SHORTEST), key=len, reverse=True)


def _parts(url: str) -> Iterator[str]:
    """The password of each URL in *url*: whole, and the pieces that a wrong one is read as."""
    for one in url.split(";"):
        user, at, _ = one.partition("://")[2].rpartition("@")
        if at:
            password = user.partition(":")[2]
            yield from (password, unquote(password), *re.split("[/?#@:]", password))


class _AllAnswered(Exception):
    """Every worker that was expected has answered."""


class Later(Generic[T]):
    """A call in a thread of its own; without the call, if too many before it never ended."""

    _free = threading.BoundedSemaphore(_MOST_LEFT)

    def __init__(self, call: Callable[[], T], otherwise: T) -> None:
        self._call, self._answer = call, otherwise
        self._done, self._slot = threading.Event(), self._free
        thread = threading.Thread(target=self._run, name="fullresult-asking", daemon=True)
        if not begin_in(self._slot, thread):
            self._done.set()

    def _run(self) -> None:
        try:
            self._answer = self._call()
        finally:
            self._slot.release()
            self._done.set()

    def result(self, until: float) -> T:
        """The answer, or what stands for none if there is none by this time."""
        self._done.wait(max(until - time.monotonic(), 0))
        return self._answer
