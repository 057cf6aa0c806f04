"""Tasks that went missing: which there are, and which must not be sent again."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from fullresult.actions.batch import Fate
from fullresult.actions.errors import LeftAlone
from fullresult.insight.orphans import Orphan, Orphans, was_sent_again
from fullresult.insight.overdue import Overdue, schedules_of
from fullresult.insight.stale import stale_query
from fullresult.record import encoding, pages
from fullresult.storage import TaskQuery, WorkerStorage

if TYPE_CHECKING:
    from datetime import timedelta

    from fullresult.config import Settings
    from fullresult.record import TaskRecord
    from fullresult.record.schedule import Schedule
    from fullresult.storage import Storage

Way = Literal["stale_scheduled", "orphans", "stale"]
"""How a task went missing."""
WAYS: tuple[Way, ...] = ("stale_scheduled", "orphans", "stale")
"""In the order in which tasks are looked for. A task is sent in the first way that finds it."""

RUNNING = "being run by a worker that lives"
AGAIN = "sent again already"
SHOWN = 10
"""Tasks of each way that are kept whole for a preview."""
_PAGE = 100
_FRESH = 5.0
"""Seconds after which the storage is asked again which workers live."""

_Found = Iterator[tuple[str, str, Any]]
"""A task's id, its `seen_as`, and what a preview shows."""


def seen_as(record: TaskRecord) -> str:
    """A short text that changes whenever anything happens to the task."""
    stamp = record.outcome.stamp if record.outcome else ""
    return hashlib.sha256(stamp.encode(errors="replace")).hexdigest()[:16]


@dataclass
class Loss:
    """The tasks that went missing in one way: all by id, the first `SHOWN` whole."""

    way: Way
    seen: dict[str, str] = field(default_factory=dict)
    """`seen_as` of each task, by its id."""
    first: list[Any] = field(default_factory=list)
    """The first `Schedule`s, `Orphan`s or `TaskRecord`s."""


class Sparing:
    """Decides which missing tasks are left alone."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._looked: tuple[float, Orphans | None] | None = None

    def check(self, record: TaskRecord) -> None:
        """Raises `LeftAlone` if a living worker runs the task, or it was sent again."""
        workers = self._workers()
        if workers is not None and workers.is_running(record):
            raise LeftAlone(record.task_id, RUNNING)
        if was_sent_again(self._storage, record.task_id):
            raise LeftAlone(record.task_id, AGAIN)

    def to_send(self, way: Way, task_id: str, seen: str | None) -> TaskRecord:
        """The record of a task that may be sent.

        Raises `LeftAlone` if its `seen_as` is not *seen* any more, or if `check` does. A task whose
        *seen* is None may be sent unless it has ended.
        """
        record = self._storage.get(encoding.key(task_id))
        if record is None:
            raise LeftAlone(task_id, "its record was deleted meanwhile")
        ended = record.outcome is not None and not record.outcome.open
        if ended if seen is None else seen_as(record) != seen:
            raise LeftAlone(task_id, f"it moved on meanwhile: {record.state}")
        try:
            self.check(record)
        except LeftAlone as error:
            if error.why == RUNNING and way == "orphans":
                raise LeftAlone(task_id, f"its worker, {record.worker}, is back") from error
            raise
        return record

    def check_scheduled(self, task_id: str, settings: Settings) -> None:
        """Raises `LeftAlone` if nothing is scheduled of the task, or a sweeper is sending it."""
        found, overdue = schedules_of(self._storage, task_id), Overdue(self._storage, settings)
        if not found:
            raise LeftAlone(task_id, "it is not scheduled any more")
        if all(map(overdue.is_being_sent, found)):
            raise LeftAlone(task_id, "a sweeper claimed it within the last minute")

    def _workers(self) -> Orphans | None:
        """The workers as they were at most `_FRESH` seconds ago; None if the storage keeps none."""
        now = time.monotonic()
        if self._looked is None or now - self._looked[0] > _FRESH:
            keeps = isinstance(self._storage, WorkerStorage)
            self._looked = now, Orphans(self._storage) if keeps else None
        return self._looked[1]


class Missing:
    """Finds what is stale scheduled, orphaned or stale among what *query* asks for."""

    def __init__(
        self,
        storage: Storage,
        settings: Settings,
        tasks: Mapping[str, Any],
        query: TaskQuery | None = None,
        age: timedelta | None = None,
        limit: int | None = None,
    ) -> None:
        self._storage = storage
        self._settings = settings
        self._tasks = tasks
        self._query = query
        self._age = age
        self._limit = limit
        self._sparing = Sparing(storage)
        self._known: set[str] = set()
        self._twice: set[str] = set()
        self.spared: list[Fate] = []
        """The tasks that are left alone, with the reason."""
        self.left_alone: dict[str, int] = {AGAIN: 0, RUNNING: 0}
        """The number of tasks that are left alone, by the reason."""

    def find(self, ways: Collection[Way]) -> list[Loss]:
        """The losses in these ways, each task once. A way without a loss is left out."""
        look: dict[Way, Callable[[], _Found]] = {
            "stale_scheduled": self._overdue,
            "orphans": self._orphans,
            "stale": self._stale,
        }
        losses = [self._filled(Loss(way), look[way]()) for way in WAYS if way in ways]
        return [loss for loss in losses if loss.seen]

    @property
    def warning(self) -> str:
        """Sentences that say what may run twice, each after a space."""
        return "".join(f" {why}: it then runs twice." for why in sorted(self._twice))

    def _filled(self, loss: Loss, found: _Found) -> Loss:
        for task_id, seen, item in found:
            if self._limit is not None and len(self._known) >= self._limit:
                break
            if task_id not in self._known:
                self._known.add(task_id)
                loss.seen[task_id] = seen
                if len(loss.first) < SHOWN:
                    loss.first.append(item)
        return loss

    def _overdue(self) -> Iterator[tuple[str, str, Schedule]]:
        overdue = Overdue(self._storage, self._settings)
        for schedule in overdue.to_send(self._age, query=self._query):
            if schedule.claimed:
                self._twice.add("What was claimed may have been sent")
            yield schedule.task_id, "", schedule

    def _orphans(self) -> Iterator[tuple[str, str, Orphan]]:
        for orphan in Orphans(self._storage, self._age).find(self._query or TaskQuery()):
            if self._acks_late(orphan.record):
                self._twice.add("The broker may deliver orphans again by itself (acks_late)")
            yield orphan.record.task_id, seen_as(orphan.record), orphan

    def _acks_late(self, record: TaskRecord) -> bool:
        """True if this process has the task's code, and it is acknowledged late."""
        task = self._tasks.get(record.name or "")
        return bool(task is not None and task.acks_late)

    def _stale(self) -> Iterator[tuple[str, str, TaskRecord]]:
        age = self._settings.stale_after if self._age is None else self._age
        asked = stale_query(self._storage.now() - age, None, _PAGE)
        page = replace(
            self._query or asked,
            **{name: getattr(asked, name) for name in ("open", "moved_before", "order", "limit")},
        )
        for record in pages.walk(self._storage.find, page):
            if record.task_id not in self._known and not self._spares(record):
                if not isinstance(self._storage, WorkerStorage):
                    self._twice.add("The storage keeps no heartbeats, so a task may still be run")
                yield record.task_id, seen_as(record), record

    def _spares(self, record: TaskRecord) -> bool:
        try:
            self._sparing.check(record)
        except LeftAlone as error:
            self.left_alone[error.why] += 1
            self.spared.append(Fate(record.task_id, problem=str(error), spared=True))
            return True
        return False
