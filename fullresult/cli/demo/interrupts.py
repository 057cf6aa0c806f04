"""Signals that end the demo raise exceptions, so that it can clear up."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _interrupt(number: int, frame: Any) -> NoReturn:  # noqa: ARG001  (a signal handler's arguments)
    raise KeyboardInterrupt


@contextmanager
def as_exceptions() -> Iterator[None]:
    """Have a signal that ends the process raise `KeyboardInterrupt` in the block."""
    with _handled_by(_interrupt):
        yield


@contextmanager
def held_back() -> Iterator[None]:
    """Keep such signals until the end of the block."""
    waiting: list[int] = []
    with _handled_by(lambda number, _: waiting.append(number)):
        yield
    if waiting:
        os.kill(os.getpid(), waiting[0])


@contextmanager
def _handled_by(handler: Callable[[int, Any], Any]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
