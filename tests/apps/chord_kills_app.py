"""The tasks of `scenario_backend_app`, in a pool whose processes are killed while they join chords.

`FULLRESULT_TEST_KILLS` names a folder. In it a mark is left for each body, so that each is killed
for once, that of a frozen chord in its second run. `FULLRESULT_TEST_KILL_AT` says where: "written",
when the end of a member is written and not counted, on MongoDB, where these are two commands, and
in a first run, as the record does not tell yet whose end it is if there are two; "counted", when
the last member is counted and nothing else is done; "joined", before the body is published; "sent",
after that; or a number: at some line of Python below it, another for each body, after a member's
end began to be written.
"""

from __future__ import annotations

import os
import signal
import sys
import zlib
from pathlib import Path
from types import FrameType
from typing import Any

from billiard.process import current_process
from celery.app.task import Context

from fullresult.results import bodies, members
from fullresult.results.backend import FullResultBackend
from fullresult.results.chords import Chords
from fullresult_storage_mongo.chords import Joining
from fullresult_storage_mongo.clients import Handle
from fullresult_storage_mongo.held_connections import Command
from tests.apps.scenario_backend_app import app, make_app

__all__ = ["app", "make_app"]


def is_wanted(where: str) -> bool:
    """True in a pool's process if processes are to be killed *where*."""
    is_parent = current_process().name == "MainProcess"
    return not is_parent and os.environ.get("FULLRESULT_TEST_KILL_AT") == where


def kill_once(where: str, callback: Any) -> None:
    """Die here if that is wanted, and none has died here for *callback*."""
    if is_wanted(where) and not is_first_of_two(callback):
        die(mark_of(callback))


def is_first_of_two(callback: Any) -> bool:
    """True for a run after which the frozen chord is applied once more."""
    return "frozen" in callback.get("args", ()) and members.run_of(callback) == 1


def mark_of(callback: Any) -> Path:
    return Path(os.environ["FULLRESULT_TEST_KILLS"], str(callback["options"]["task_id"]))


def die(mark: Path, said: str = "") -> None:
    try:
        with mark.open("x") as file:
            file.write(said)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


class Countdown:
    """A trace function that dies at a line."""

    def __init__(self, left: int, mark: Path) -> None:
        self._left, self._mark = left, mark

    def __call__(self, frame: FrameType, event: str, _: Any) -> Countdown:
        self._left -= event == "line"
        if self._left == 0:
            die(self._mark, f"{frame.f_code.co_filename}:{frame.f_lineno}")
        return self


def _done(
    self: FullResultBackend, task_id: str, result: Any, request: Context, *more: Any, **how: Any
) -> Any:
    lines = os.environ.get("FULLRESULT_TEST_KILL_AT", "")
    callback = getattr(request, "chord", None)
    if not (lines.isdigit() and callback and is_wanted(lines)):
        return _mark_as_done(self, task_id, result, request, *more, **how)
    mark = mark_of(callback)
    sys.settrace(Countdown(zlib.crc32(mark.name.encode()) % int(lines), mark))
    try:
        return _mark_as_done(self, task_id, result, request, *more, **how)
    finally:
        sys.settrace(None)


if os.environ.get("FULLRESULT_TEST_KILL_AT") == "written":
    bodies._MARGIN = 0.5
ending: list[Any] = []
"""The body of the chord whose member ends in this process."""


def _noted(
    self: FullResultBackend, task_id: str, result: Any, request: Context, *more: Any, **how: Any
) -> Any:
    ending[:] = [callback] if (callback := getattr(request, "chord", None)) else []
    return _done(self, task_id, result, request, *more, **how)


def _joins_on(self: Joining, send: Command, handle: Handle) -> bool | None:
    for callback in ending:
        kill_once("written", callback)
    return _join_on(self, send, handle)


def _joins(self: Joining, handle: Handle) -> bool:
    for callback in ending:
        if members.run_of(callback) > 1:  # a first run by one line; who adds would add again
            kill_once("written", callback)
    return _join(self, handle)


_join_on, _join = Joining.join_on, Joining.join
_mark_as_done = FullResultBackend.mark_as_done
_send, _publish = Chords._send_or_fail, bodies.publish


def _killed_before(self: Chords, chord_id: str, callback: Any, **how: Any) -> bool:
    kill_once("counted", callback)
    return _send(self, chord_id, callback, **how)


def _killed_around(app: Any, callback: Any, results: list[Any]) -> None:
    kill_once("joined", callback)
    _publish(app, callback, results)
    kill_once("sent", callback)


FullResultBackend.mark_as_done = _noted  # type: ignore[method-assign, assignment]
Joining.join_on = _joins_on  # type: ignore[method-assign]
Joining.join = _joins  # type: ignore[method-assign]
Chords._send_or_fail = _killed_before  # type: ignore[method-assign]
bodies.publish = _killed_around
