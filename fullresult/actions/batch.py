"""Acting on many tasks one after the other: the outcome for each, and when to give up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from fullresult.actions.audit import Trail
from fullresult.actions.errors import LeftAlone, NotDone
from fullresult.record import encoding
from fullresult.record.encoding import safe_str
from fullresult.storage import Storage, StorageError

T = TypeVar("T")

BROKER_ERRORS = 3
"""Errors of the broker in a row after which the rest is not tried."""
BROKER_SILENT = "The broker does not answer."


class Fate(NamedTuple):
    """The outcome for one task."""

    task_id: str
    new_id: str | None = None
    """The id it was sent under."""
    problem: str | None = None
    """The reason if it was not done."""
    spared: bool = False
    """True if it was left alone on purpose."""


@dataclass
class Report:
    """The outcome for many tasks."""

    fates: list[Fate] = field(default_factory=list)
    """In the order in which the tasks were tried."""
    unfinished: bool = False
    """True if some were not tried."""
    stopped: str | None = None
    """Why they were not tried; None if time was up."""
    would_send: list[str] = field(default_factory=list)
    """The ids of the tasks that would be tried, if this is of a dry run."""
    replay_id: str | None = None
    """The replay that sends them; there are no fates then."""

    @property
    def done(self) -> list[Fate]:
        return [fate for fate in self.fates if fate.problem is None]

    @property
    def spared(self) -> list[Fate]:
        return [fate for fate in self.fates if fate.spared]

    @property
    def failed(self) -> list[Fate]:
        return [fate for fate in self.fates if fate.problem is not None and not fate.spared]

    def left(self, ids: Iterable[str]) -> list[str]:
        """Those of *ids* that were not tried."""
        tried = {fate.task_id for fate in self.fates}
        return [task_id for task_id in ids if task_id not in tried]


@dataclass(frozen=True)
class Pace:
    """How long to act on many tasks, and whom to call with what became of each."""

    patience: float | None = None
    """Seconds after which the rest is left for another time; None: no task is left."""
    tell: Callable[[Fate], object] | None = None


AT_ONCE = Pace()


def would_resend(storage: Storage, ids: Iterable[str]) -> Report:
    """The report of a dry run: those of *ids* that are recorded would be sent. Sends nothing."""
    report = Report()
    for task_id in ids:
        if storage.get(encoding.key(task_id)) is None:
            report.fates.append(Fate(task_id, problem=unknown(task_id)))
        else:
            report.would_send.append(task_id)
    return report


def unknown(task_id: str) -> str:
    return f"no task {task_id!r} is recorded"


def do_each(
    items: Iterable[tuple[str, T]],
    do: Callable[[T], str | None],
    trail: Trail,
    pace: Pace = AT_ONCE,
) -> Report:
    """Call *do* for each item, which stands beside its task id, and write the audit log.

    *do* returns a new id, or raises `NotDone`: then the others go on. A `StorageError` ends the
    batch. It is raised if no task was tried before; else `Report.stopped` has its text.
    """
    return _Batch(trail, pace).run(items, do)


class _Batch:
    """One batch while it is done."""

    def __init__(self, trail: Trail, pace: Pace) -> None:
        self._trail = trail
        self._tell = pace.tell
        self._until = None if pace.patience is None else time.monotonic() + pace.patience
        self._broker_errors = 0
        self._report = Report()

    def run(self, items: Iterable[tuple[str, T]], do: Callable[[T], str | None]) -> Report:
        try:
            self._run(items, do)
        except StorageError as error:
            if not self._report.fates:
                raise
            self._stop(safe_str(error))
        finally:
            # Also after Ctrl-C.
            self._trail.flush()
        return self._report

    def _run(self, items: Iterable[tuple[str, T]], do: Callable[[T], str | None]) -> None:
        for task_id, item in items:
            if self._report.fates and self._is_late():
                self._report.unfinished = True
                return
            self._note(self._try(task_id, item, do))
            if self._broker_errors >= BROKER_ERRORS:
                self._stop(BROKER_SILENT)
                return

    def _is_late(self) -> bool:
        return self._until is not None and time.monotonic() > self._until

    def _stop(self, why: str) -> None:
        self._report.unfinished, self._report.stopped = True, why

    def _try(self, task_id: str, item: T, do: Callable[[T], str | None]) -> Fate:
        try:
            new_id = do(item)
        except LeftAlone as error:
            return Fate(task_id, problem=safe_str(error), spared=True)
        except NotDone as error:
            self._broker_errors = self._broker_errors + 1 if error.is_of_broker else 0
            return Fate(task_id, problem=safe_str(error))
        self._broker_errors = 0
        return Fate(task_id, new_id)

    def _note(self, fate: Fate) -> None:
        self._report.fates.append(fate)
        if fate.problem is None:
            self._trail.done(fate.task_id, fate.new_id)
        elif not fate.spared:
            self._trail.failed(fate.task_id, fate.problem)
        if self._tell is not None:
            self._tell(fate)
