"""Open connections of this process: none crosses a fork, none is used by two threads at once."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar


class Closable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=Closable)
T = TypeVar("T")

_PATIENCE = 5.0
"""Seconds that a fork waits for connections to come back."""


class Connections(Generic[C]):
    """Lends connections, the last one given back first.

    A process that uses the storage from one thread has one connection; from N at once, up to N.
    With *close_before_fork*, a fork waits for those that are lent, and there are none in the child.
    """

    def __init__(self, connect: Callable[[], C], *, close_before_fork: bool = False) -> None:
        self._connect = connect
        self._idle: list[C] = []
        self._pid = os.getpid()
        self._inherited: list[C] = []
        self._counts = close_before_fork
        self._lent = 0
        self._forking = False
        self._turn = threading.Condition()
        if close_before_fork:
            _watch_forks(self)

    def use(self, do: Callable[[C, bool], T]) -> T:
        """`do(connection, used before)`. A connection that fails its user is closed."""
        connection, used = self.take()
        try:
            answer = do(connection, used)
        except BaseException:
            self.drop(connection)
            raise
        self.give_back(connection)
        return answer

    def take(self) -> tuple[C, bool]:
        """A connection, and whether it was used before; to be given back, or dropped."""
        self._leave_parents()
        if self._counts:
            self._count_one()
        try:
            return self._idle.pop(), True
        except IndexError:
            pass
        try:
            return self._connect(), False
        except BaseException:
            self._returned()
            raise

    def give_back(self, connection: C) -> None:
        self._idle.append(connection)
        self._returned()

    def drop(self, connection: C) -> None:
        connection.close()
        self._returned()

    def _count_one(self) -> None:
        with self._turn:
            while self._forking:
                self._turn.wait()
            self._lent += 1

    def _returned(self) -> None:
        if self._counts:
            with self._turn:
                self._lent -= 1
                self._turn.notify_all()

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

    def before_fork(self) -> None:
        self._turn.acquire()
        self._forking = True
        self._turn.wait_for(lambda: not self._lent, _PATIENCE)
        self.close()

    def after_fork_in_parent(self) -> None:
        self._forking = False
        self._turn.notify_all()
        self._turn.release()

    def after_fork_in_child(self) -> None:
        self._forking = False
        self._lent = 0
        self._turn = threading.Condition()


def _watch_forks(connections: Connections[Any]) -> None:
    reference = weakref.ref(connections)  # what is registered stays so for good

    def tell(name: str) -> None:
        if (alive := reference()) is not None:
            getattr(alive, name)()

    os.register_at_fork(
        before=lambda: tell("before_fork"),
        after_in_parent=lambda: tell("after_fork_in_parent"),
        after_in_child=lambda: tell("after_fork_in_child"),
    )
