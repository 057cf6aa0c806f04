"""What went missing, as `resend` finds it, shows it and sends it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fullresult.actions.batch import NotDone, sending
from fullresult.cli.commands.orphans import show_orphans
from fullresult.cli.preview import SHOWN
from fullresult.cli.schedule_table import show_schedules
from fullresult.cli.table import STALE_COLUMNS, show_records
from fullresult.cli.terminal import say
from fullresult.insight.orphans import Orphans, was_sent_again
from fullresult.insight.overdue import Overdue
from fullresult.insight.stale import stale_query
from fullresult.insight.words import count_of
from fullresult.record import pages
from fullresult.storage import TaskQuery, WorkerStorage

if TYPE_CHECKING:
    from datetime import timedelta

    from fullresult.extension import FullResult
    from fullresult.record import TaskRecord

Found = Iterator[tuple[str, str, Any]]
"""The id of a task, the stamp of how it stands, and what is shown of it."""
_BATCH = 100
_FRESH = 5.0
"""Seconds after which one looks again which workers live."""


@dataclass
class Part:
    """What went missing in one way: all of it by its ids, the first of it whole."""

    what: str
    verb: str
    show: Callable[[list[Any]], None]
    send: Callable[[str, str], str]
    """Send the task of this id, which is to stand as this stamp says; the id it then has."""
    stamps: dict[str, str] = field(default_factory=dict)
    first: list[Any] = field(default_factory=list)

    def preview(self) -> None:
        """Show it on standard error."""
        number = len(self.stamps)
        say(f"About to {self.verb} {count_of(number, self.what)}:", err=True)
        self.show(self.first)
        if number > len(self.first):
            say(f"… and {number - len(self.first):,} more", err=True)


class Missing:
    """What is overdue, orphaned or stale among what *query* asks for, each task once."""

    def __init__(
        self, full: FullResult, query: TaskQuery | None, age: timedelta | None, limit: int | None
    ) -> None:
        self._full = full
        self._query = query
        self._age = age
        self._left = limit
        self._seen: set[str] = set()
        self._spared = {"sent again already": 0, "being run by a worker that lives": 0}
        self._looked: tuple[float, Orphans | None] | None = None
        self._twice: set[str] = set()

    def find(self, *, overdue: bool, orphans: bool, stale: bool) -> list[Part]:
        """Those that there are, of the kinds asked for."""
        parts = []
        if overdue:
            part = Part("overdue task", "send now", _show_schedules(self._full), self._send_now)
            parts.append(self._filled(part, self._overdue()))
        if orphans:
            part = Part("orphan", "send again", _show_orphans, self._send_orphan)
            parts.append(self._filled(part, self._orphans()))
        if stale:
            part = Part("stale task", "send again", _show_stale, self._send_stale)
            parts.append(self._filled(part, self._stale()))
        for why, number in self._spared.items():
            if number:
                say(f"Left alone: {count_of(number)} {why}.", err=True)
        return [part for part in parts if part.stamps]

    @property
    def warning(self) -> str:
        """What a person should know of what was found, before it is sent."""
        return "".join(f" {why}: it then runs twice." for why in sorted(self._twice))

    def _filled(self, part: Part, found: Found) -> Part:
        for task_id, stamp, item in found:
            if self._left is not None and len(self._seen) >= self._left:
                break
            if task_id not in self._seen:
                self._seen.add(task_id)
                part.stamps[task_id] = stamp
                if len(part.first) < SHOWN:
                    part.first.append(item)
        return part

    def _overdue(self) -> Found:
        overdue = Overdue(self._full.storage, self._full.settings)
        for schedule in overdue.to_send(self._age, query=self._query):
            if schedule.claimed:
                self._twice.add("What was claimed may have been sent")
            yield schedule.task_id, "", schedule

    def _orphans(self) -> Found:
        for orphan in Orphans(self._full.storage, self._age).find(self._query or TaskQuery()):
            if self._acks_late(orphan.record):
                self._twice.add("The broker may deliver orphans again by itself (acks_late)")
            yield orphan.record.task_id, _stamp(orphan.record), orphan

    def _acks_late(self, record: TaskRecord) -> bool:
        """As far as this process knows the task."""
        task = self._full.app.tasks.get(record.name)
        return bool(task is not None and task.acks_late)

    def _stale(self) -> Found:
        age = self._full.settings.stale_after if self._age is None else self._age
        asked = stale_query(self._full.storage.now() - age, None, _BATCH)
        page = replace(
            self._query or asked,
            **{name: getattr(asked, name) for name in ("open", "moved_before", "order", "limit")},
        )
        for record in pages.walk(self._full.find, page):
            if record.task_id not in self._seen and not self._spares(record):
                yield record.task_id, _stamp(record), record

    def _spares(self, record: TaskRecord) -> bool:
        """Whether it is stale, and best left alone."""
        if self._is_running(record):
            self._spared["being run by a worker that lives"] += 1
            return True
        if was_sent_again(self._full.storage, record.task_id):
            self._spared["sent again already"] += 1
            return True
        return False

    def _send_now(self, task_id: str, _: str) -> str:
        with sending(task_id):
            return str(self._full.resend_scheduled(task_id).id)

    def _send_orphan(self, task_id: str, stamp: str) -> str:
        record = self._unchanged(task_id, stamp)
        if self._is_running(record):
            raise NotDone(f"task {task_id} is left alone: its worker, {record.worker}, is back")
        return self._send(record)

    def _send_stale(self, task_id: str, stamp: str) -> str:
        return self._send(self._unchanged(task_id, stamp))

    def _send(self, record: TaskRecord) -> str:
        with sending(record.task_id):
            return str(self._full.resend(record).id)

    def _unchanged(self, task_id: str, stamp: str) -> TaskRecord:
        """The record as it was when it was shown; people take their time."""
        record = self._full.get(task_id)
        if record is None:
            raise NotDone(f"task {task_id} is left alone: its record was deleted meanwhile")
        if _stamp(record) != stamp:
            raise NotDone(f"task {task_id} is left alone: it moved on meanwhile: {record.state}")
        if was_sent_again(self._full.storage, task_id):
            raise NotDone(f"task {task_id} is left alone: it was sent again meanwhile")
        return record

    def _is_running(self, record: TaskRecord) -> bool:
        now = time.monotonic()
        if self._looked is None or now - self._looked[0] > _FRESH:
            storage = self._full.storage
            known = Orphans(storage) if isinstance(storage, WorkerStorage) else None
            self._looked = now, known
        workers = self._looked[1]
        return workers is not None and workers.is_running(record)


def _stamp(record: TaskRecord) -> str:
    return record.outcome.stamp if record.outcome else ""


def _show_schedules(full: FullResult) -> Callable[[list[Any]], None]:
    return lambda items: show_schedules(full, items, err=True, table=True)


def _show_orphans(items: list[Any]) -> None:
    show_orphans(items, err=True, table=True)


def _show_stale(items: list[Any]) -> None:
    show_records(items, STALE_COLUMNS, err=True, table=True)
