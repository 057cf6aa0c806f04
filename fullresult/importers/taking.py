"""Taking over the tasks that wait in the table of django-celery-fulldbresult, each exactly once.

First its rows are marked, so that its own task `send_scheduled_task` passes them. Then each becomes
a schedule whose id is made of the task's, and the row is marked as taken. An import that dies in
between is finished by the next: a schedule that is there, or a record that says that the task went
on, shows what was done. One import does so at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from kombu.exceptions import EncodeError

from fullresult.importers.events import Events, Ignored
from fullresult.importers.fulldbresult import FullDbResult
from fullresult.importers.row import Row, Unreadable
from fullresult.importers.source import UNREADABLE, Broken, Column, Read, read_one
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
_KEPT_OUT = (Ignored, NotDivertible, EncodeError, *UNREADABLE)
"""What keeps a task from being taken over."""
_UNTOUCHED = FIRST.stamp(SCHEDULED, Events.NO_MOMENT)
"""Begins the stamp of a task that waits and never did anything else."""


@dataclass
class Taken:
    """What was taken over."""

    ids: list[str] = field(default_factory=list)
    uncertain: list[str] = field(default_factory=list)
    """Tasks that the original had claimed: perhaps they were sent."""
    staying: list[Broken] = field(default_factory=list)
    """Tasks that wait where they did, and why."""

    def note(self, row: Read) -> None:
        if isinstance(row, Broken):
            self.staying.append(row)
        else:
            self.ids.append(row.task_id)


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

    def look(self) -> Taken:
        """What `run` would take over, and write nothing. Raises like it."""
        taken = Taken()
        for column in self._rows.to_take():
            taken.note(self._tried(column, self._made))
        self._look_at_claimed(taken, self._perhaps_sent)
        return taken

    def run(self) -> Taken:
        """Take over all that wait. Raises `CannotImport` and `StorageError`."""
        taken = Taken()
        with self._rows.alone():
            self._rows.mark_all()
            for column in self._rows.marked():
                self._take(column, taken)
            self._look_at_claimed(taken, self._keep_uncertain)
        return taken

    def _take(self, column: Column, taken: Taken) -> None:
        row = self._tried(column, self._keep)
        if isinstance(row, Broken):
            self._rows.give_back(column)
        else:
            self._rows.note_taken(column)
        taken.note(row)

    def _tried(self, column: Column, deed: Callable[[Row], object]) -> Read:
        """The row of *column*, with which *deed* was done, or why it stays where it is."""
        row = read_one(self._source.row, column, column["task_id"], column["id"])
        try:
            if isinstance(row, Row):
                deed(row)
        except _KEPT_OUT as error:
            row = Broken(encoding.key(column["task_id"]), str(error) or type(error).__name__)
        return row

    def _keep(self, row: Row) -> None:
        """Make the schedule of *row*, unless it was made before."""
        made = self._made(row)
        if made is None:
            return
        schedule, event = made
        try:
            self._storage.schedule(schedule, event)
        except Refused as error:
            if self._storage.find_schedules(ScheduleQuery(schedule_ids=[schedule.schedule_id])):
                raise  # it is here, so the original must not send it
            raise Unreadable(str(error)) from error

    def _made(self, row: Row) -> tuple[Schedule, TaskRecord] | None:
        """The schedule of *row* and its event; None if it was made before.

        Raises `Ignored`, `NotDivertible`, `ValueError`.
        """
        if row.eta is None or row.name is None:
            raise Unreadable("it has no name, or no date at which it is due")
        schedule_id = _schedule_id(row.task_id)
        # In this order: what is sent loses its schedule and gets its new state in one step.
        if self._storage.find_schedules(ScheduleQuery(schedule_ids=[schedule_id])):
            return None
        record = self._storage.get(encoding.key(row.task_id))
        if record is not None and _went_on(record):
            return None
        event = self._event(row, record)
        made = self._maker.schedule(self._events.call_to_send(row), row.eta)
        scheduled = row.created or made.date_scheduled
        return made._replace(schedule_id=schedule_id, date_scheduled=scheduled), event

    def _event(self, row: Row, record: TaskRecord | None) -> TaskRecord:
        return self._events.of(row, record, self._storage.now())

    def _look_at_claimed(self, taken: Taken, deed: Callable[[Row], object]) -> None:
        """Note what the original claimed, and went no further with."""
        for column in self._rows.claimed():
            row = read_one(self._source.row, column, column["task_id"], column["id"])
            if isinstance(row, Row) and self._is_stuck(row.eta):
                row = self._tried(column, deed)
                if isinstance(row, Broken):
                    taken.staying.append(row)
                else:
                    taken.uncertain.append(row.task_id)

    def _is_stuck(self, due: datetime | None) -> bool:
        return due is not None and due < self._storage.now() - _SENDING

    def _perhaps_sent(self, row: Row) -> TaskRecord:
        row.state = PENDING
        row.exception_message = "the original had begun to send it: perhaps it was sent"
        return self._event(row, None)

    def _keep_uncertain(self, row: Row) -> None:
        try:
            self._storage.write([self._perhaps_sent(row)])
        except Refused as error:
            raise Unreadable(str(error)) from error


def _schedule_id(task_id: str) -> str:
    """The same in every import, from wherever it is made."""
    return hashlib.sha256(f"django-celery-fulldbresult\0{task_id}".encode()).hexdigest()[:32]


def _went_on(record: TaskRecord) -> bool:
    """True if the task was sent, cancelled or run."""
    return record.outcome is not None and not record.outcome.stamp.startswith(_UNTOUCHED)
