"""Threads in processes that fork and get signals."""

from __future__ import annotations

import queue
import threading
from contextlib import AbstractContextManager
from sys import is_finalizing

from fullresult.storage.forks import notice_fork, watch_forks

_PATIENCE = 0.2
"""Seconds that a fork waits for a thread inside a gate."""


class ForkGate(AbstractContextManager["ForkGate"]):
    """A lock that forks wait for: no fork happens while a thread is inside a `with` block of it.

    Without it a child could inherit a file or a lock in the middle of a thread's work, but not the
    thread that would finish it. A fork waits 0.2 s at most, so nothing inside may wait for a
    network.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._forking = threading.local()  # several threads may fork at once
        watch_forks(
            self,
            before=ForkGate._before,
            in_parent=ForkGate._in_parent,
            in_child=ForkGate._in_child,
        )

    def _before(self) -> None:
        self._forking.holds = self._lock.acquire(timeout=_PATIENCE)

    def _in_parent(self) -> None:
        # A gate made by another thread since this one began to fork was not asked.
        if getattr(self._forking, "holds", False):
            self._forking.holds = False
            self._lock.release()

    def _in_child(self) -> None:
        self._lock, self._forking = threading.RLock(), threading.local()

    def __enter__(self) -> ForkGate:  # noqa: PYI034
        notice_fork()
        self._lock.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def begin(thread: threading.Thread) -> None:
    """Start *thread*. Raises `RuntimeError` if there can be no more, as when the interpreter ends.

    Before Python 3.12 `Thread.start` itself waits for ever then.
    """
    if is_finalizing():
        raise RuntimeError("no thread can be started, for the interpreter ends")
    thread.start()


def begin_in(slot: threading.Semaphore, thread: threading.Thread) -> bool:
    """`begin` *thread*, which gives *slot* back at its end; False if there is no room.

    A thread that could not be started takes no room from the next one.
    """
    if not slot.acquire(blocking=False):
        return False
    try:
        begin(thread)
    except RuntimeError:
        slot.release()
        raise
    return True


class Stop:
    """Ends or wakes a thread. Like `threading.Event`, but safe in a handler of a signal.

    Such a handler may interrupt the very thread that holds an `Event`'s lock.
    """

    def __init__(self) -> None:
        self._set = False
        self._news: queue.SimpleQueue[None] = queue.SimpleQueue()

    def set(self) -> None:
        """End the thread: `wait` answers at once from now on."""
        self._set = True
        self.wake()

    def wake(self) -> None:
        """Have one `wait`, this or the next, answer at once."""
        self._news.put(None)  # which is reentrant, says Python's documentation

    def is_set(self) -> bool:
        return self._set

    def wait(self, seconds: float | None) -> bool:
        """Wait at most *seconds*; None is for ever. True if it was set or woken."""
        if not self._set:
            try:
                self._news.get(timeout=seconds)
            except queue.Empty:
                return self._set
        return True
