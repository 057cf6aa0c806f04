"""A task that is run by hand: what it publishes meanwhile is kept back, and nothing is recorded."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from celery import Celery
from celery.utils import uuid


class KeptBack(NamedTuple):
    """A publish that was not sent."""

    name: str
    args: Any
    kwargs: Any
    task_id: str


class Rehearsals:
    """The rehearsals of one app in this process."""

    def __init__(self) -> None:
        self._running: list[Rehearsal] = []

    @contextmanager
    def begin(self) -> Iterator[Rehearsal]:
        rehearsal = Rehearsal()
        self._running.append(rehearsal)
        try:
            yield rehearsal
        finally:
            self._running.remove(rehearsal)

    def here(self) -> Rehearsal | None:
        """The rehearsal that this thread belongs to."""
        for rehearsal in reversed(self._running):
            if rehearsal.covers_this_thread():
                return rehearsal
        return None


class Rehearsal:
    """The time in which one task is run by hand.

    It covers the thread that runs the task and those that were begun since: a task may publish from
    threads of its own. Threads that were there before go on as usual.
    """

    def __init__(self) -> None:
        mine = threading.get_ident()
        # The objects, not their numbers, which the system gives to later threads too.
        self._others = {each for each in threading.enumerate() if each.ident != mine}
        self.kept_back: list[KeptBack] = []

    def covers_this_thread(self) -> bool:
        return threading.current_thread() not in self._others

    def keep_back(self, app: Celery, given: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
        """Note a call of `send_task` instead of making it; its answer is Celery's."""
        known = {**dict(zip(("name", "args", "kwargs"), given, strict=False)), **options}
        task_id = str(known.get("task_id") or uuid())
        kept = KeptBack(
            str(known.get("name")), known.get("args") or (), known.get("kwargs") or {}, task_id
        )
        self.kept_back.append(kept)
        return app.AsyncResult(task_id)
