"""Lines: connections kept out of PyMongo's pool, to write single events on.

PyMongo's way to any command (a session, the choice of a server and a connection, retries) is more
than half of the cost of a write, and an event needs none of it: it may be merged twice. So a line
is taken from the pool once, by methods that are not public. If PyMongo has no such methods, or the
pool has nothing to spare, commands go PyMongo's way.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from inspect import signature
from typing import Any, NamedTuple, TypeVar

import pymongo
from pymongo import MongoClient
from pymongo.database import Database

T = TypeVar("T")
Document = dict[str, Any]
Command = Callable[[Document], Document]
"""Sends a command; the server's answer. Raises PyMongo's errors."""

logger = logging.getLogger(__name__)

_MOST = 50
_NOTHING = (None, None, None)


class _Line(NamedTuple):
    connection: Any
    """A connection of PyMongo's, of which only `command` is used."""
    checkout: AbstractContextManager[Any]
    """Gives the connection back to the pool, with the error that it raised."""


class Lines:
    """The lines of one client: as many as threads ever wrote at once, at most half of its pool."""

    def __init__(self, client: MongoClient[Document], database: Database[Document]) -> None:
        self.idle: deque[_Line] = deque()
        """The lines not in use: while there are any, no server has to be looked for."""
        self._client = client
        self._database = database
        self._name = database.name
        options = client.options.pool_options
        self._timeout = client.options.timeout or options.socket_timeout
        self._limit = {"maxTimeMS": max(1, int(self._timeout * 900))} if self._timeout else {}
        self._left = min((options.max_pool_size or 2 * _MOST) // 2, _MOST)
        """The number of lines that may still be opened; threads that race may open one more."""
        self._closed = False
        self._is_tried = False

    def command(self, command: Document) -> Document:
        """The server's answer. Raises PyMongo's errors."""
        line = self._take()
        if line is None:
            return self._database.command(command)
        try:
            answer = self._send(line, command)
        except BaseException:
            self._drop(line)
            raise
        self._put_back(line)
        return answer

    def by_one(self, do: Callable[[Command], T]) -> T | None:
        """`do(send)`, in which all commands go by one line, to one server. None without a line."""
        line = self._take()
        if line is None:
            return None
        try:
            answer = do(partial(self._send, line))
        except BaseException:
            self._drop(line)
            raise
        self._put_back(line)
        return answer

    def _send(self, line: _Line, command: Document) -> Document:
        # The server ends it before we give up: else it would still wait, for a lock say.
        answer: Document = line.connection.command(self._name, {**command, **self._limit})
        return answer

    def _take(self) -> _Line | None:
        try:
            return self.idle.pop()
        except IndexError:
            return self._open() if self._left > 0 else None

    def _put_back(self, line: _Line) -> None:
        if self._closed:
            line.checkout.__exit__(*_NOTHING)
        else:
            self.idle.append(line)

    def _drop(self, line: _Line) -> None:
        self._left += 1
        line.checkout.__exit__(*sys.exc_info())

    def close(self) -> None:
        """Give all lines back, those in use when they are free. Called before the client closes."""
        self._left, self._closed = 0, True
        while self.idle:
            self.idle.pop().checkout.__exit__(*_NOTHING)

    def _open(self) -> _Line | None:
        try:
            checkout = self._checked_out()
        except (AttributeError, TypeError) as error:
            self._give_up(error)
            return None
        self._left -= 1
        try:
            connection = checkout.__enter__()
        except BaseException:
            self._left += 1
            raise
        try:
            # The call before may have left it with less time.
            connection.set_conn_timeout(self._timeout)
            if not self._is_tried:
                connection.command("admin", {"ping": 1})
                self._is_tried = True
        except (AttributeError, TypeError) as error:
            checkout.__exit__(*_NOTHING)
            self._give_up(error)
            return None
        except BaseException:
            self._left += 1
            checkout.__exit__(*sys.exc_info())
            raise
        return _Line(connection, checkout)

    def _checked_out(self) -> AbstractContextManager[Any]:
        take: Any = self._client._conn_for_writes  # noqa: SLF001
        # Before PyMongo 4.8 it is not told for what.
        given = (None, "update")[: len(signature(take).parameters)]
        checkout: AbstractContextManager[Any] = take(*given)
        return checkout

    def _give_up(self, error: Exception) -> None:
        self._left = 0
        logger.warning(
            "fullresult: PyMongo %s is not the one that this version was made for (%s): "
            "it works, and events take about twice the CPU",
            pymongo.version,
            error,
        )
