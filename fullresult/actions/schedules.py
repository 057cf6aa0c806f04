"""Cancelling, moving, releasing and sending scheduled tasks by hand."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING
from uuid import uuid4

from fullresult.actions.errors import CannotResend, NotDone
from fullresult.actions.why_not import being_sent
from fullresult.insight import dates
from fullresult.insight.overdue import Overdue
from fullresult.record import encoding
from fullresult.record.dates import to_utc
from fullresult.record.merging import fold
from fullresult.record.schedule import Schedule, ScheduleQuery
from fullresult.scheduling.claim_term import Term, TermOver
from fullresult.scheduling.schedule_events import ScheduleEvents
from fullresult.scheduling.sender import BrokerDown, Sender, Unconfirmed, Unsendable

if TYPE_CHECKING:
    from fullresult.config import Settings
    from fullresult.storage import ScheduleStorage

logger = logging.getLogger(__name__)

_TRIES = 100


class Scheduled:
    """Acts on the schedules of one storage. Writes no audit log: `Deeds` does."""

    def __init__(
        self,
        settings: Settings,
        storage: ScheduleStorage,
        tell_revoked: Callable[[Schedule, str], object],
    ) -> None:
        self._settings = settings
        self._storage = storage
        self._tell_revoked = tell_revoked
        self._events = ScheduleEvents(settings)

    def cancel(self, task_id: str) -> bool:
        """Cancel the waiting schedules of a task. False if there is none that is not claimed."""
        cancelled = [
            schedule
            for schedule in self._waiting(task_id)
            if self._storage.cancel(schedule.schedule_id, self._events.ended(schedule, "revoked"))
        ]
        for schedule in cancelled:
            self._tell_revoked(schedule, "revoked")
        return bool(cancelled)

    def reschedule(self, task_id: str, due: datetime | timedelta) -> bool:
        """Make the waiting schedules of a task due then, or later by that. False if there is none.

        Raises `NotDone` for a time that no storage keeps.
        """
        moved = [
            self._put_off(schedule, due)
            if isinstance(due, timedelta)
            else self._storage.reschedule(
                schedule.schedule_id, due, self._events.moved(schedule, due)
            )
            for schedule in self._waiting(task_id)
        ]
        return any(moved)

    def _put_off(self, schedule: Schedule, by: timedelta) -> bool:
        """Make it due later by that than it is by then: others may be putting it off, too."""
        found: Sequence[Schedule] = [schedule]
        for _ in range(_TRIES):
            if not found:
                return False
            (schedule,) = found
            try:
                at = schedule.due + by
            except OverflowError:
                late = f"task {schedule.task_id} cannot be due after the year 9999"
                raise NotDone(late) from None
            event, before = self._events.moved(schedule, at), schedule.due
            if self._storage.reschedule(schedule.schedule_id, at, event, instead_of=before):
                return True
            found = self._storage.find_schedules(
                ScheduleQuery(schedule_ids=[schedule.schedule_id], claimed=False)
            )
        raise NotDone(f"task {schedule.task_id} is being moved by others; try again")

    def release(self, task_id: str) -> bool:
        """Give the claimed schedules of a task back to the sweepers. False if there is none.

        A claim of the last minute stays: its sweeper is about to send.
        """
        overdue = Overdue(self._storage, self._settings)
        released = [
            self._storage.release([schedule.schedule_id], schedule.claim)
            for schedule in self._of(task_id, claimed=True)
            if not overdue.is_being_sent(schedule)
        ]
        return any(released)

    def send_now(self, task_id: str, sender: Sender) -> None:
        """Send the due and claimed schedules of a task; if there is none, the waiting ones.

        Raises `LookupError` if nothing is scheduled of it; `CannotResend`, also for a claim of the
        last minute.
        """
        found = self._of(task_id)
        if not found:
            raise LookupError(f"nothing is scheduled of task {task_id!r}")
        overdue = Overdue(self._storage, self._settings)
        free = [schedule for schedule in found if not overdue.is_being_sent(schedule)]
        if not free:
            raise CannotResend(being_sent(task_id))
        # A retry of it that waits for tomorrow is not what a person means.
        at_once = [each for each in free if each.claimed or each.due <= overdue.now]
        for schedule in at_once or free:
            self._send(schedule, sender)

    def _send(self, schedule: Schedule, sender: Sender) -> None:
        task = f"task {schedule.task_id}"
        if schedule.namespace != self._settings.namespace:
            raise CannotResend(f"{task} is for another broker: {schedule.namespace}")
        try:
            sender.ready()
        except BrokerDown as error:
            raise CannotResend(f"{task} stays as it was: {error}") from error
        term = Term(self._storage.now, self._settings.rescue_after)
        now, claim = self._storage.now(), uuid4().hex
        mine = self._storage.take_over(schedule.schedule_id, claim, now, instead_of=schedule.claim)
        if mine is None:
            raise CannotResend(f"{task}: a sweeper or somebody else was faster")
        try:
            sent = sender.send(mine, now, term)
        except BrokerDown as error:
            self._storage.release([mine.schedule_id], claim)
            raise CannotResend(
                f"{task} waits again, the broker did not take it: {error}"
            ) from error
        except TermOver as error:
            self._storage.release([mine.schedule_id], claim)
            raise CannotResend(f"{task} was not sent: {error}") from error
        except (Unconfirmed, Unsendable) as error:
            self._storage.mark_problem(claim, mine.schedule_id, str(error))
            raise CannotResend(f"{task} stays claimed: {error}") from error
        events = self._events.sent(mine) if sent else [self._events.ended(mine, "expired")]
        self._storage.mark_sent(claim, [mine.schedule_id], fold(events))
        if not sent:
            self._tell_revoked(mine, "expired")
            raise CannotResend(f"{task} had expired, and is finished as REVOKED")

    def _waiting(self, task_id: str) -> list[Schedule]:
        return self._of(task_id, claimed=False)

    def _of(self, task_id: str, *, claimed: bool | None = None) -> list[Schedule]:
        return self._storage.find_schedules(
            ScheduleQuery(task_ids=[encoding.key(task_id)], claimed=claimed, limit=None)
        )


def eta_text(due: datetime | timedelta) -> str:
    """*due* as the audit log has it."""
    return f"+{due}" if isinstance(due, timedelta) else due.isoformat()


def utc_of(eta: datetime | str, now: datetime) -> datetime | timedelta:
    """*eta* in UTC. Without a zone it is UTC already, as in a message of Celery's.

    Of `+1h` the length of time.
    """
    if isinstance(eta, str):
        read = dates.due(eta, now)
        return read if isinstance(read, timedelta) else to_utc(read)
    if not isinstance(eta, datetime):
        raise TypeError(f"eta must be a datetime or text, not {eta!r}")
    return to_utc(eta if eta.tzinfo else eta.replace(tzinfo=timezone.utc))
