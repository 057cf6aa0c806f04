"""Connections of this process: a few, none crosses a fork, none is used by two threads at once."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

from fullresult.storage import NoRoom, notice_fork, watch_forks


class Closable(Protocol):
    owner: int
    """The process that opened it."""

    @property
    def is_worn(self) -> bool:
        """True if it is to be closed when it is given back."""
        ...

    def close(self) -> None: ...

    def survives(self, error: BaseException) -> bool:
        """True if it can be used again after *error*."""
        ...


C = TypeVar("C", bound=Closable)
T = TypeVar("T")

_LOOK = 0.1
"""Seconds between a waiting thread's own looks for room.

An exception from a signal may keep another thread from giving a connection back.
"""
_PATIENCE = 5.0
"""Seconds that a fork waits for connections to come back."""


class Connections(Generic[C]):
    """Lends connections, the last one given back first; at most *size* are open.

    A process that uses the storage from one thread has one connection. Further threads wait for one
    to be given back, in turn, for *timeout* seconds, and then get `NoRoom`.
    With *close_before_fork*, a fork waits for those in `use`, and there are none in the child.
    """

    def __init__(
        self,
        connect: Callable[[], C],
        *,
        size: int,
        timeout: float,
        close_before_fork: bool = False,
    ) -> None:
        self.keeps_idle = True
        """False: a connection that is given back is closed, if nobody waits for it."""
        self._connect = connect
        self._size, self._timeout = size, timeout
        self._idle: list[C] = []
        self._open: weakref.WeakSet[Any] = weakref.WeakSet()
        """Connections, and places for those that are being opened."""
        self._waiting: deque[_Waiter[C]] = deque()
        self._pid = os.getpid()
        self._inherited: list[C] = []
        self._counts = close_before_fork
        self._lent: set[object] = set()
        self._forking = False
        self._turn = threading.Condition()
        if close_before_fork:
            watch_forks(
                self,
                before=Connections.before_fork,
                in_parent=Connections.after_fork_in_parent,
                in_child=Connections.after_fork_in_child,
            )

    def use(self, do: Callable[[C, bool], T]) -> T:
        """`do(connection, used before)`. A connection that does not survive an error is closed."""
        if not self._counts:
            return self._use(do)
        loan = object()
        # Inside the try: else an exception from a signal leaves it lent for good.
        try:
            self._lend(loan)
            return self._use(do)
        finally:
            self._end(loan)

    def _use(self, do: Callable[[C, bool], T]) -> T:
        connection, used = self.take()
        try:
            answer = do(connection, used)
        except BaseException as error:
            self.take_back(connection, error)
            raise
        self.give_back(connection)
        return answer

    def take(self) -> tuple[C, bool]:
        """A connection, and whether it was used before; to be given or taken back."""
        self._leave_parents()
        try:
            return self._idle.pop(), True
        except IndexError:
            pass
        return self._opened() or self._waited()

    def _opened(self) -> tuple[C, bool] | None:
        """A new connection, if there is room for one."""
        place = _Place()
        self._open.add(place)  # before the look: of two threads that race, none or one finds room
        if len(self._open) > self._size:
            self._open.discard(place)
            return None
        try:
            connection = self._connect()
            connection.owner = os.getpid()
            self._open.add(connection)
        finally:
            self._open.discard(place)
        return connection, False

    def _waited(self) -> tuple[C, bool]:
        end = time.monotonic() + self._timeout
        waiter: _Waiter[C] = _Waiter()
        self._waiting.append(waiter)
        try:
            while time.monotonic() < end:
                self._serve()
                if waiter.is_told():
                    return waiter.given.pop(), True
                if (opened := self._opened()) is not None:
                    return opened
        finally:
            self._leave(waiter)
        raise NoRoom(
            f"no connection was free within {self._timeout:g} s: all {self._size} of this process "
            "(fullresult_pool_size) are in use"
        )

    def _serve(self) -> None:
        """Give idle connections to those who wait."""
        with suppress(IndexError):
            while self._waiting:
                self.give_back(self._idle.pop())

    def _leave(self, waiter: _Waiter[C]) -> None:
        with suppress(ValueError):
            self._waiting.remove(waiter)
        while waiter.given:
            self.give_back(waiter.given.pop())

    def take_back(self, connection: C, error: BaseException) -> None:
        """The same as `give_back` for a connection that raised *error*."""
        if connection.survives(error):
            self.give_back(connection)
        else:
            self._drop(connection)

    def give_back(self, connection: C) -> None:
        if connection.owner != os.getpid():
            self._drop(connection)
            return
        if connection.is_worn:
            self._drop(connection)
            return
        try:
            waiter = self._waiting.popleft()
        except IndexError:
            if not self.keeps_idle:
                self._drop(connection)
                return
            self._idle.append(connection)
            if self._waiting:  # since a moment ago
                self._serve()
        else:
            waiter.give(connection)

    def _drop(self, connection: C) -> None:
        if connection.owner == os.getpid():
            self._open.discard(connection)
            connection.close()
        else:
            self._inherited.append(connection)

    @property
    def fork_waits(self) -> bool:
        """True if this process is about to fork, and waits for connections in `use`."""
        return self._forking

    def _lend(self, loan: object) -> None:
        # Noted first, then looked: `before_fork` does it the other way round, and so one of the
        # two sees the other. Only who has to wait needs the lock.
        self._lent.add(loan)
        if self._forking:
            self._lend_after_fork(loan)

    def _lend_after_fork(self, loan: object) -> None:
        with self._turn:
            self._lent.discard(loan)
            self._turn.notify_all()
            while self._forking:
                self._turn.wait()
            self._lent.add(loan)

    def _end(self, loan: object) -> None:
        self._lent.discard(loan)
        if self._forking:
            with self._turn:
                self._turn.notify_all()

    def close(self) -> None:
        """Close what is idle."""
        self._leave_parents()
        while self._idle:
            self._drop(self._idle.pop())

    def _leave_parents(self) -> None:
        notice_fork()
        if self._pid != os.getpid():
            # Closing one here would end the parent's session with the server, or drop its locks
            # on the file; keeping a reference keeps Python from doing so.
            self._inherited += self._idle
            self._idle = []
            self._open = weakref.WeakSet()
            self._waiting = deque()
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
        self._lent = set()
        self._turn = threading.Condition()


class _Place:
    """The place of a connection that is being opened."""


class _Waiter(Generic[C]):
    """A thread that waits for a connection.

    It has a lock of its own and shares none: a signal handler may write while its thread waits.
    """

    def __init__(self) -> None:
        self.given: list[C] = []
        self._told = threading.Lock()
        self._told.acquire()

    def give(self, connection: C) -> None:
        self.given.append(connection)
        self._told.release()

    def is_told(self) -> bool:
        return self._told.acquire(timeout=_LOOK)
