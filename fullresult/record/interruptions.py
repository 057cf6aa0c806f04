"""Interruptions: exceptions that a handler of a signal of the operating system raises.

A soft time limit is one, and so is a timeout by `signal.alarm`. They are meant for the task, or for
whoever publishes it, and not for those whose code they happen to meet.
"""

from __future__ import annotations

import signal
import threading
from types import CodeType
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

_NAMES = ("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGTERM", "SIGHUP", "SIGVTALRM", "SIGPROF")
_SIGNALS = tuple(int(getattr(signal, name)) for name in _NAMES if hasattr(signal, name))


def spare(error: Exception) -> None:
    """Raise *error* if it is an interruption. For those who catch whatever else may be raised."""
    if is_interruption(error):
        raise error


class Suppressing:
    """As `contextlib.suppress`, but for interruptions: a `TimeoutError` is an `OSError`."""

    def __init__(self, kind: type[Exception]) -> None:
        self._kind = kind

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        return isinstance(error, self._kind) and not is_interruption(error)


def interruption_behind(error: Exception) -> Exception | None:
    """The interruption of which a driver, which took it for a fault, made *error*."""
    cause = error.__cause__
    while isinstance(cause, Exception):
        if is_interruption(cause):
            return cause
        cause = cause.__cause__
    return None


def is_interruption(error: BaseException) -> bool:
    return isinstance(error, SoftTimeLimitExceeded) or signal_of(error) is not None


def signal_of(error: BaseException) -> int | None:
    """The signal whose handler raised *error*; None if that was no handler of a signal."""
    if threading.current_thread() is not threading.main_thread():
        return None
    codes = {code: number for number in _SIGNALS if (code := _code(signal.getsignal(number)))}
    traceback = error.__traceback__
    while traceback is not None:
        if (number := codes.get(traceback.tb_frame.f_code)) is not None:
            return number
        traceback = traceback.tb_next
    return None


def _code(handler: Any) -> CodeType | None:
    """The code of a handler that is a function, a method, or an object to be called."""
    if not callable(handler):
        return None
    for each in (handler, getattr(handler, "__func__", None), type(handler).__call__):
        code = getattr(each, "__code__", None)
        if isinstance(code, CodeType):
            return code
    return None
