"""Upkeep: a sweeper notes now and then that it lives, and mends claims that were left behind."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from fullresult.config import without_password
from fullresult.record.executions import known_of_runs
from fullresult.record.merging import fold
from fullresult.record.schedule import Schedule, ScheduleQuery
from fullresult.record.stamps import schedule_in
from fullresult.scheduling.claim_term import FREE_AFTER
from fullresult.scheduling.schedule_events import ScheduleEvents
from fullresult.scheduling.sender import UNSURE
from fullresult.storage import StorageError

if TYPE_CHECKING:
    from fullresult.config import Settings
    from fullresult.storage import ScheduleStorage

logger = logging.getLogger(__name__)

_NOTE_EVERY = 20.0
_LOOK_EVERY = 60.0
_OTHERS_ARE_LATE = timedelta(minutes=1)


class Upkeep:
    """The chores of one sweeper, each with an interval of its own."""

    def __init__(self, settings: Settings, storage: ScheduleStorage) -> None:
        self._storage = storage
        self._settings = settings
        self._events = ScheduleEvents(settings)
        self._noted = self._looked = self._rescued = -_LOOK_EVERY
        self._others: frozenset[str] = frozenset()
        self._rescues = bool(settings.rescue_after or settings.outbox)

    def do(self, settle: Callable[[], None]) -> None:
        """Do the chores that are due. Before claims are looked at, call *settle*.

        Raises `StorageError`.
        """
        now = time.monotonic()
        if now - self._noted >= _NOTE_EVERY:
            self._storage.note_sweep(self._settings.namespace, self._storage.now())
            self._noted = now
        if now - self._looked >= _LOOK_EVERY:
            settle()
            _go_on_after(self._report_others)
            until = self._storage.now() - FREE_AFTER
            _go_on_after(partial(self._close_what_ran, until))
            self._looked = now
        rescue = self._settings.rescue_after or FREE_AFTER
        if self._rescues and now - self._rescued >= min(rescue.total_seconds() / 4, 30):
            settle()
            _go_on_after(partial(self._rescue, rescue))
            self._rescued = now

    def _report_others(self) -> None:
        """Warn of overdue tasks in other namespaces, which are not sent from here."""
        late = ScheduleQuery(
            not_namespace=self._settings.namespace,
            claimed=False,
            due_until=self._storage.now() - _OTHERS_ARE_LATE,
        )
        found = frozenset(schedule.namespace for schedule in self._storage.find_schedules(late))
        for namespace in sorted(found - self._others):
            logger.warning(
                "fullresult: tasks scheduled for %s are overdue and not sent from here, which is "
                "%s; run a sweeper for it, or set fullresult_namespace if it is the same broker",
                without_password(namespace),
                without_password(self._settings.namespace),
            )
        self._others = found

    def _close_what_ran(self, claimed_until: datetime) -> None:
        """Mark as sent each claimed schedule whose message a worker has begun to run."""
        for schedule in self._claimed(claimed_until):
            _go_on_after(partial(self._close_if_it_ran, schedule))

    def _close_if_it_ran(self, schedule: Schedule) -> None:
        if schedule.claim and self._ran(schedule):
            events = fold(self._events.sent(schedule))
            self._storage.mark_sent(schedule.claim, [schedule.schedule_id], events)

    def _ran(self, schedule: Schedule) -> bool:
        """True if a run is known whose message was sent for this very schedule.

        The task's id, attempt and dates prove nothing: an id may be scheduled twice.
        """
        record = self._storage.get(schedule.new_task_id or schedule.task_id)
        if record is None:
            return False
        runs = known_of_runs(record.start, record.entries, record.outcome)
        if schedule.new_task_id is not None:  # an id that nothing else was ever given
            return any(run.date_started for run in runs)
        return any(schedule_in(run.stamp) == schedule.schedule_id for run in runs)

    def _rescue(self, after: timedelta) -> None:
        """Give back each task that was claimed more than *after* ago, although it may be sent.

        Without `fullresult_rescue_after`, only those that are to be sent at least once.
        """
        until = self._storage.now() - after
        self._close_what_ran(until)
        for schedule in self._claimed(until):
            if not (self._settings.rescue_after or schedule.at_least_once):
                continue
            if self._storage.release([schedule.schedule_id], schedule.claim):
                logger.warning(
                    "fullresult: task %s was claimed more than %s ago and never marked sent: it "
                    "is sent now, perhaps again",
                    schedule.task_id,
                    after,
                )

    def _claimed(self, until: datetime) -> Iterator[Schedule]:
        """The schedules that were claimed at *until* or earlier and may have been sent."""
        query = ScheduleQuery(namespace=self._settings.namespace, claimed=True, limit=None)
        for schedule in self._storage.find_schedules(query):
            hopeless = schedule.problem and not schedule.problem.startswith(UNSURE)
            if not hopeless and schedule.date_claimed and schedule.date_claimed <= until:
                yield schedule


def _go_on_after(chore: Callable[[], None]) -> None:
    """Do it. Only a `StorageError` is raised: one record that cannot be read stops no sweeper."""
    try:
        chore()
    except StorageError:
        raise
    except Exception:
        logger.exception("fullresult: a chore of the sweeper failed")
