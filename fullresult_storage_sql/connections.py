"""Open connections of this process: none crosses a fork, none is used by two threads at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, Protocol, TypeVar


class Closable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=Closable)


class Connections(Generic[C]):
    """Lends connections, the last one given back first.

    A process that uses the storage from one thread has one connection; from N at once, up to N.
    """

    def __init__(self, connect: Callable[[], C]) -> None:
        self._connect = connect
        self._idle: list[C] = []
        self._pid = os.getpid()
        self._inherited: list[C] = []

    @contextmanager
    def lend(self) -> Iterator[tuple[C, bool]]:
        """A connection, and whether it was used before. One that fails its user is closed."""
        self._leave_parents()
        try:
            connection, used = self._idle.pop(), True
        except IndexError:
            connection, used = self._connect(), False
        try:
            yield connection, used
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)

    def close(self) -> None:
        """Close what is idle."""
        self._leave_parents()
        while self._idle:
            self._idle.pop().close()

    def _leave_parents(self) -> None:
        if self._pid != os.getpid():
            # Closing one here would end the parent's session with the server, or drop its locks
            # on the file; keeping a reference keeps Python from doing so.
            self._inherited += self._idle
            self._idle = []
            self._pid = os.getpid()
