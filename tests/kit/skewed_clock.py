"""A process whose clock is wrong: what Python says of the time of day is so many seconds off.

`python -m tests.skewed_clock SECONDS MODULE ARGUMENT…` runs the module as `python -m` does.
"""

from __future__ import annotations

import datetime as dt
import runpy
import sys
import time


def skew(seconds: float) -> None:
    """Before anything else is imported, which might keep the true clock."""
    true_time, true_time_ns, true = time.time, time.time_ns, dt.datetime
    off = dt.timedelta(seconds=seconds)

    class Kind(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, true)

        def __subclasscheck__(cls, other: type) -> bool:
            return issubclass(other, true)

    class Skewed(true, metaclass=Kind):  # type: ignore[misc,valid-type]
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:
            return true.now(tz) + off

        @classmethod
        def utcnow(cls) -> dt.datetime:
            return true.now(dt.timezone.utc).replace(tzinfo=None) + off

        @classmethod
        def today(cls) -> dt.datetime:
            return true.now() + off

    time.time = lambda: true_time() + seconds
    time.time_ns = lambda: true_time_ns() + int(seconds * 1e9)
    dt.datetime = Skewed  # type: ignore[misc]


if __name__ == "__main__":
    skew(float(sys.argv[1]))
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
