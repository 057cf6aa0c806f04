"""Receivers of Celery's signals, called so that no soft time limit ends in them.

Celery catches every `Exception` that comes out of a receiver: also one that was meant for the task.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded
from celery.utils.dispatch import Signal

from fullresult.record.interruptions import signal_of
from fullresult.recording.writer import Handed

AFTER_THE_TASK = frozenset({"task_success", "task_failure", "task_retry", "task_postrun"})
"""Signals that are sent when the task's own code has ended."""
_PAUSE = 0.005
"""Seconds between two looks if Celery has left the loop that catches exceptions."""


class _Ended:
    """The number of tasks that ended in this process."""

    number = 0


def passing_on(name: str, receiver: Callable[..., None]) -> Callable[..., None]:
    """*receiver* of the signal *name*; what interrupts it comes again where Celery lets it through.

    A soft time limit comes again only in the code of the same task.
    """

    def receive(**given: Any) -> None:
        handed = Handed.number
        try:
            receiver(**given)
        except Exception as error:
            number = signal_of(error)
            if number is None:
                raise
            if handed == Handed.number:
                receiver(**given)  # it had not done its work
            _pass_on(number, error, is_after=name in AFTER_THE_TASK)
        finally:
            if name == "task_postrun":
                _Ended.number += 1

    return receive


def _pass_on(number: int, interruption: Exception, *, is_after: bool) -> None:
    if not isinstance(interruption, SoftTimeLimitExceeded):
        _come_again(number, lambda: False)
    elif not is_after:
        ended = _Ended.number
        _come_again(number, lambda: ended != _Ended.number)


def _come_again(number: int, is_over: Callable[[], bool]) -> None:
    main = threading.main_thread().ident or 0

    def send() -> None:
        time.sleep(_PAUSE)
        while not is_over() and _is_caught(main):
            time.sleep(_PAUSE)
        if not is_over():
            signal.pthread_kill(main, number)

    # Not a `Thread`, whose start waits for it: the interruption would come there.
    _thread.start_new_thread(send, ())


def _is_caught(thread: int) -> bool:
    """True while Celery would catch what is raised in this thread."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001
    while frame is not None and frame.f_code is not Signal.send.__code__:
        frame = frame.f_back
    return frame is not None
