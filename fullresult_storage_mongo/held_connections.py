"""Lines: connections of PyMongo's that are kept for the writing of single events.

A process that has just waited pays for each line of code it then runs, and what PyMongo does for
any command (a session, the choice of a server and of a connection, whatever else may be done twice)
is more than half of that of a write. An event needs none of it. So a line is taken from PyMongo's
pool once, with a part of it that is not public; where there is no such part, or nothing to spare in
the pool, a command goes the usual way.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple, TypeVar

from pymongo import MongoClient
from pymongo.database import Database

T = TypeVar("T")
Document = dict[str, Any]
Command = Callable[[Document], Document]
"""Sends a command; the server's answer. Raises PyMongo's errors."""

_MOST = 50
_NOTHING = (None, None, None)


class _Line(NamedTuple):
    connection: Any
    """PyMongo's; only its `command` is used."""
    checkout: AbstractContextManager[Any]
    """Gives the connection back, and tells PyMongo's watch what went wrong with it."""


class Lines:
    """Those of one client: as many as threads ever wrote at once, and at most half of its pool."""

    def __init__(self, client: MongoClient[Document], database: Database[Document]) -> None:
        self.idle: deque[_Line] = deque()
        """Those at hand: while there are any, nobody needs to look for a server."""
        self._client = client
        self._database = database
        self._name = database.name
        options = client.options.pool_options
        self._timeout = client.options.timeout or options.socket_timeout
        self._left = min((options.max_pool_size or 2 * _MOST) // 2, _MOST)
        """How many more there may be. Threads that race for the last may both get one."""
        self._closed = False

    def command(self, command: Document) -> Document:
        """The server's answer. Raises PyMongo's errors."""
        line = self._take()
        if line is None:
            return self._database.command(command)
        try:
            answer: Document = line.connection.command(self._name, command)
        except BaseException:
            self._drop(line)
            raise
        self._put_back(line)
        return answer

    def by_one(self, do: Callable[[Command], T]) -> T | None:
        """`do(command)`, where all commands go by one line: to one server, whatever happens.

        None without a line.
        """
        line = self._take()
        if line is None:
            return None
        try:
            answer = do(partial(line.connection.command, self._name))
        except BaseException:
            self._drop(line)
            raise
        self._put_back(line)
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
        """Give them back, those in use as soon as they are not: before the client is closed."""
        self._left, self._closed = 0, True
        while self.idle:
            self.idle.pop().checkout.__exit__(*_NOTHING)

    def _open(self) -> _Line | None:
        try:
            checkout = self._client._conn_for_writes(None, "update")  # noqa: SLF001
        except (AttributeError, TypeError):  # not with this version of PyMongo
            self._left = 0
            return None
        self._left -= 1
        try:
            connection = checkout.__enter__()
        except BaseException:
            self._left += 1
            raise
        # What was done with it before may have had less time.
        connection.set_conn_timeout(self._timeout)
        return _Line(connection, checkout)
