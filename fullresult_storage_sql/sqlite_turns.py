"""Waiting for one's turn to write a SQLite file: it has one writer at a time."""

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
"""Of the time waited so far: how long to sleep until the next try."""


def in_turn(session: sqlite3.Connection, do: Callable[[], T], timeout: float) -> T:
    """`do()`, again and again while others write, for *timeout* seconds.

    What *do* does in part, and not in a transaction, is to be such as may be done twice. SQLite's
    own waiting sleeps for 1 to 100 ms each time, where a write takes a fraction of one: one process
    that writes all the time keeps the others waiting for a second.
    """
    began = time.monotonic()
    while True:
        try:
            return do()
        except sqlite3.OperationalError as error:
            waited = time.monotonic() - began
            if not is_busy(error) or session.in_transaction or waited > timeout:
                raise
        pause = min(max(waited * _SHARE, _SHORTEST), _LONGEST)
        time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  (that they do not meet again)


def is_busy(error: sqlite3.OperationalError) -> bool:
    """Whether somebody else has the file right now. Python 3.10 does not tell SQLite's code."""
    return str(error) == "database is locked"
