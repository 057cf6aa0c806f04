"""Taking over the tasks that wait in the table of django-celery-fulldbresult, each exactly once.

First its rows are marked, so that its own task `send_scheduled_task` passes them. Then each becomes
a schedule whose id is made of the task's, and the row is marked as taken. An import that dies in
between is finished by the next: a schedule that is there, or a record that says that the task went
on, shows what was done. One import does so at a time.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from kombu.exceptions import EncodeError

from fullresult.importers.events import Events, Ignored
from fullresult.importers.fulldbresult import FullDbResult
from fullresult.importers.row import Row, Unreadable
from fullresult.importers.source import Broken, Column, read_one
from fullresult.importers.waiting_rows import WaitingRows
from fullresult.record import (
    FIRST,
    PENDING,
    SCHEDULED,
    Schedule,
    ScheduleQuery,
    TaskRecord,
    encoding,
)
from fullresult.scheduling.schedule_maker import NotDivertible, ScheduleMaker
from fullresult.storage import Refused, ScheduleStorage

_SENDING = timedelta(minutes=10)
"""What the original claimed, and has not marked sent so long after it was due, it never will."""
_UNTOUCHED = FIRST.stamp(SCHEDULED, Events.NO_MOMENT)
"""Begins the stamp of a task that waits and never did anything else."""


@dataclass
class Taken:
    """What was taken over."""

    ids: list[str] = field(default_factory=list)
    uncertain: list[str] = field(default_factory=list)
    """Tasks that the original had claimed: perhaps they were sent."""
    broken: list[Broken] = field(default_factory=list)
    """Tasks that stay where they were."""


class Taking:
    """Takes over from one table."""

    def __init__(
        self, source: FullDbResult, storage: ScheduleStorage, events: Events, maker: ScheduleMaker
    ) -> None:
        self._source = source
        self._rows = WaitingRows(source)
        self._storage = storage
        self._events = events
        self._maker = maker

    def count(self) -> int:
        """The number of tasks that would be taken over."""
        return self._rows.count()

    def run(self) -> Taken:
        """Take over all that wait. Raises `CannotImport` and `StorageError`."""
        taken = Taken()
        with self._rows.alone():
            self._rows.mark_all()
            for column in self._rows.marked():
                self._take(column, taken)
            for column in self._rows.claimed():
                self._note_uncertain(column, taken)
        return taken

    def _take(self, column: Column, taken: Taken) -> None:
        row = read_one(self._source.row, column, "task_id")
        try:
            if isinstance(row, Row):
                self._keep(row)
        except (Ignored, NotDivertible, ValueError, TypeError) as error:
            row = Broken(str(column["task_id"]), f"it stays there: {error}")
        if isinstance(row, Broken):
            self._rows.give_back(column)
            taken.broken.append(row)
        else:
            self._rows.note_taken(column)
            taken.ids.append(row.task_id)

    def _keep(self, row: Row) -> None:
        """Make the schedule of *row*, unless it was made before."""
        if row.eta is None or row.name is None:
            raise Unreadable("it has no name, or no date at which it is due")
        schedule_id = _schedule_id(row.task_id)
        # In this order: what is sent loses its schedule and gets its new state in one step.
        if self._storage.find_schedules(ScheduleQuery(schedule_ids=[schedule_id])):
            return
        record = self._storage.get(encoding.key(row.task_id))
        if record is not None and _went_on(record):
            return
        schedule, event = self._made(row, schedule_id, record)
        try:
            self._storage.schedule(schedule, event)
        except Refused as error:
            if self._storage.find_schedules(ScheduleQuery(schedule_ids=[schedule_id])):
                raise  # it is here, so the original must not send it
            raise Unreadable(str(error)) from error

    def _made(
        self, row: Row, schedule_id: str, record: TaskRecord | None
    ) -> tuple[Schedule, TaskRecord]:
        """The schedule of *row* and its event. Raises `Ignored`, `NotDivertible`, `ValueError`."""
        assert row.eta is not None
        try:
            event = self._event(row, record)
            made = self._maker.schedule(self._events.call_to_send(row), row.eta)
        except (EncodeError, RecursionError, OverflowError) as error:
            raise Unreadable(str(error) or type(error).__name__) from error
        scheduled = row.created or made.date_scheduled
        return made._replace(schedule_id=schedule_id, date_scheduled=scheduled), event

    def _event(self, row: Row, record: TaskRecord | None) -> TaskRecord:
        return self._events.of(row, record, self._storage.now())

    def _note_uncertain(self, column: Column, taken: Taken) -> None:
        row = read_one(self._source.row, column, "task_id")
        if isinstance(row, Row) and self._is_stuck(row.eta):
            row.state = PENDING
            row.exception_message = "the original had begun to send it: perhaps it was sent"
            self._storage.write([self._event(row, None)])
            taken.uncertain.append(row.task_id)

    def _is_stuck(self, due: datetime | None) -> bool:
        return due is not None and due < self._storage.now() - _SENDING


def _schedule_id(task_id: str) -> str:
    """The same in every import, from wherever it is made."""
    return hashlib.sha256(f"django-celery-fulldbresult\0{task_id}".encode()).hexdigest()[:32]


def _went_on(record: TaskRecord) -> bool:
    """True if the task was sent, cancelled or run."""
    return record.outcome is not None and not record.outcome.stamp.startswith(_UNTOUCHED)
