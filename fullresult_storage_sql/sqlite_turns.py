"""Waits for a turn to write a SQLite file, which has one writer at a time."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_SHORTEST = 0.0001
_LONGEST = 0.005
_SHARE = 0.1
"""The part of the time waited so far after which the next try comes."""


class GaveWay(Exception):
    """The connection has to be closed before this process forks; nothing was done."""


def in_turn(
    session: sqlite3.Connection,
    do: Callable[[], T],
    timeout: float,
    fork_waits: Callable[[], bool] = lambda: False,
) -> T:
    """`do()`, again and again for *timeout* seconds while others write.

    Raises `GaveWay` if *fork_waits* meanwhile.

    Outside a transaction *do* must be idempotent: it may stop half-way and run again. SQLite's own
    waiting sleeps 1 to 100 ms between tries, and a write takes a fraction of one: a process that
    writes all the time would keep others waiting for a second.
    """
    began = time.monotonic()
    while True:
        try:
            return do()
        except sqlite3.OperationalError as error:
            waited = time.monotonic() - began
            if not is_busy(error) or session.in_transaction or waited > timeout:
                raise
            if fork_waits():
                raise GaveWay from None
        pause = min(max(waited * _SHARE, _SHORTEST), _LONGEST)
        time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  (that they do not meet again)


def is_busy(error: sqlite3.OperationalError) -> bool:
    """True if another process or thread has the file. Python 3.10 does not tell SQLite's code."""
    return str(error) == "database is locked"
