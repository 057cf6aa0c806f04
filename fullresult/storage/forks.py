"""Forks: what is told of them, and forks of which Python does not tell.

A program that embeds Python (uWSGI) may fork without running Python's hooks. So what would break in
a child looks at the pid as well, before it is used: `notice_fork`.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
Told = Callable[[T], object]


class _Watcher(NamedTuple):
    owner: weakref.ref[Any]
    before: Told[Any] | None
    in_parent: Told[Any] | None
    in_child: Told[Any]


def watch_forks(
    owner: T,
    *,
    before: Told[T] | None = None,
    in_parent: Told[T] | None = None,
    in_child: Told[T],
) -> None:
    """Have these called with *owner* at each fork, as long as it lives."""
    _forks().watch(owner, before, in_parent, in_child)


def notice_fork() -> None:
    """In a child that was forked without hooks, do now what *in_child* is for."""
    _forks().notice()


class _Forks:
    """The one hook of this process. A hook for forks can be registered, but never removed."""

    def __init__(self) -> None:
        self._watchers: dict[int, _Watcher] = {}
        self._pid = os.getpid()
        self._locks: dict[int, threading.Lock] = {}
        os.register_at_fork(
            before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child
        )

    def watch(
        self, owner: Any, before: Told[Any] | None, in_parent: Told[Any] | None, in_child: Told[Any]
    ) -> None:
        key = id(owner)
        reference = weakref.ref(owner, lambda _: self._watchers.pop(key, None))
        self._watchers[key] = _Watcher(reference, before, in_parent, in_child)

    def notice(self) -> None:
        if self._pid == os.getpid():
            return
        # By the pid: a lock of the parent's may be held for ever.
        with self._locks.setdefault(os.getpid(), threading.Lock()):
            if self._pid != os.getpid():
                self._in_child()

    def _before(self) -> None:
        for watcher in reversed(list(self._watchers.values())):
            _tell(watcher.owner, watcher.before)

    def _in_parent(self) -> None:
        for watcher in list(self._watchers.values()):
            _tell(watcher.owner, watcher.in_parent)

    def _in_child(self) -> None:
        for watcher in list(self._watchers.values()):
            _tell(watcher.owner, watcher.in_child)
        self._pid = os.getpid()


def _tell(owner: weakref.ref[Any], told: Told[Any] | None) -> None:
    if told is not None and (alive := owner()) is not None:
        told(alive)


@cache
def _forks() -> _Forks:
    return _Forks()
