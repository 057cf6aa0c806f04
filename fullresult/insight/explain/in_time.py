"""An explanation in two seconds, also where the storage is locked or mute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, Generic, TypeVar, cast

from fullresult.config import Settings
from fullresult.insight.explain import on_workers
from fullresult.insight.explain.case import Case
from fullresult.insight.explain.explanation import Explanation, Finding
from fullresult.insight.explain.reading import Reading
from fullresult.insight.live import Live, Now
from fullresult.storage import Storage
from fullresult.storage.threads import begin_in

T = TypeVar("T")

_SOON = 0.4
"""Seconds after which workers are asked, whatever the storage says."""
_LATE = 1.8
"""Seconds after which a storage that has told nothing is not waited for."""
_LATEST = 3.5
"""The same for one that has told the record: then workers and the broker are waited for, too."""
_MUTE = f"the storage did not answer within {_LATE} s"
_MOST_LEFT = 16
"""Questions of one process that a storage may leave without an answer; more are not asked."""


def in_time(
    storage: Storage,
    settings: Settings,
    task_id: str,
    live: Live | None,
    explained: Callable[[], Explanation],
) -> Explanation:
    """What *explained* answers; what is known without the storage, if that does not answer."""
    if getattr(storage, "is_passing", False):  # a transaction of this very thread is read
        return explained()
    began = time.monotonic()
    whole = _Apart(explained)
    if not whole.is_over_by(began + _SOON):
        # A storage that answers now, and has not said all, was slow only for the moment.
        told = _Apart(lambda: storage.get(task_id))
        said = None if live is None else _Apart(lambda: live.ask([task_id], (), ()))
        if whole.is_over_by(began + _LATE) or (
            told.is_over_by(began + _LATE) and whole.is_over_by(began + _LATEST)
        ):
            return whole.answer()
        now = said.answer() if said is not None and said.is_over_by(began + _LATE) else None
        return _without(_MUTE, settings, task_id, now)
    return whole.answer()


def soon(call: Callable[[], T], otherwise: T) -> T:
    """What *call* answers, or raises; *otherwise* if it takes longer than 0.4 s."""
    return _by(time.monotonic() + _SOON, call, otherwise)


def at_last(call: Callable[[], T], otherwise: T) -> T:
    """The same, if it takes longer than 1.8 s: for a storage that has just answered."""
    return _by(time.monotonic() + _LATE, call, otherwise)


def _by(until: float, call: Callable[[], T], otherwise: T) -> T:
    apart = _Apart(call)
    return apart.answer() if apart.is_over_by(until) else otherwise


def _without(problem: str, settings: Settings, task_id: str, live: Now | None) -> Explanation:
    at = datetime.now(timezone.utc)
    unknown = [problem]
    if live is None:
        unknown.append("workers: they were not asked")
    elif live.workers.problem:
        unknown.append(f"workers: {live.workers.problem}")
    case = Case(
        task_id=task_id,
        now=at,
        record=None,
        schedules=(),
        lives=(),
        keeps_workers=False,
        live=live,
        unknown=tuple(unknown),
        settings=settings,
        reading=Reading(cast("Any", None), at),  # asks nothing of what is no storage
    )
    found = on_workers.held(case)
    if found is not None:
        return case.explanation([found], known=True)
    who = "no worker that answers has it" if case.answers else "no worker answered"
    rest = "" if live is None else f", and {who}"
    sentence = f"{problem[0].upper()}{problem[1:]}: what it has of this task is not known{rest}."
    silent = Finding("storage does not answer", sentence, "possible")
    return case.explanation([silent], known=False)


class _Apart(Generic[T]):
    """A call in a thread of its own, which is left behind where it does not end."""

    _free = threading.BoundedSemaphore(_MOST_LEFT)

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._answer: T | None = None
        self._error: BaseException | None = None
        self._done, self._slot = threading.Event(), self._free
        begin_in(
            self._slot,
            threading.Thread(target=self._run, name="fullresult-explain", daemon=True),
        )

    def _run(self) -> None:
        try:
            self._answer = self._call()
        except BaseException as error:  # noqa: BLE001  (raised where it is asked for)
            self._error = error
        finally:
            self._slot.release()
            self._done.set()

    def is_over_by(self, until: float) -> bool:
        return self._done.wait(max(until - time.monotonic(), 0))

    def answer(self) -> T:
        """What the call answered, or raised."""
        if self._error is not None:
            raise self._error
        return cast("T", self._answer)
