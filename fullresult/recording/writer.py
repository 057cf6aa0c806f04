"""Writing events: into the storage at once, into the spool where that fails or is not wanted."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from celery import Celery

from fullresult.config import Settings, mark_of
from fullresult.outage.breaker import Breaker
from fullresult.outage.flusher import Flusher
from fullresult.outage.lines import Frame
from fullresult.outage.opening import flusher_of
from fullresult.record import FINISHED, OwnMessage, TaskRecord
from fullresult.record.schedule import Schedule
from fullresult.record.stamps import Clock
from fullresult.recording.descriptions import Describe
from fullresult.storage import OverlappingStorage, Refused, ScheduleStorage, Storage, with_schedules

T = TypeVar("T")
Write = Callable[[TaskRecord], Collection[str]]
"""Writes an event as `Storage.write` does."""
Finish = Callable[[], None]
"""Waits until what was begun is written, or is known not to be."""


class Handed:
    """The number of events that were handed to a storage or a spool here, and so are not lost."""

    number = 0


class Writer:
    """Writes the events of one app.

    An event that the storage does not take at once is kept in the spool, if there is one. If
    `fullresult_write_mode` is "spooled", every event is.
    """

    def __init__(self, app: Celery, settings: Settings, storage: Storage) -> None:
        self.storage = storage
        # Asked once: to ask an object for a protocol takes longer than the rest of a publish.
        self._schedules = storage if isinstance(storage, ScheduleStorage) else None
        self._overlapping = storage if isinstance(storage, OverlappingStorage) else None
        self._breaker = Breaker()
        self.flusher: Flusher | None = flusher_of(app, settings, storage, self._breaker)
        """Writes later what is kept; None without a spool."""
        self._spooled = self.flusher is not None and settings.write_mode == "spooled"
        self._clock = Clock(mark_of(settings.namespace))
        self._is_new = True

    # ---- events

    def write(self, event: TaskRecord, describe: Describe | None = None) -> None:
        """Write *event*. If its record has no message then, add what *describe* makes.

        Raises no `StorageError`.
        """
        self._look_for_others()
        Handed.number += 1
        if self._spooled and self._keep(event, _unless_it_ran(event, describe)):
            return
        lacking: Collection[str] = self._breaker.call(
            lambda: _naming(event, lambda: self.storage.write((event,))),
            (),
            lambda: self._keep(event, describe),
        )
        self._add_message(event, lacking, describe)

    def begin(self, event: TaskRecord) -> Finish:
        """Write *event* while the caller goes on, if the storage can. Raises no `StorageError`."""
        storage = self._overlapping
        if storage is None or self._spooled:
            self.write(event)
            return _nothing
        self._look_for_others()

        def begin() -> Callable[[], Collection[str]]:
            finish = _naming(event, lambda: storage.begin_write(event))
            return lambda: _naming(event, finish)

        return self._breaker.overlap(begin, lambda: self._keep(event, None))

    def write_result(
        self, event: TaskRecord, describe: Describe | None, write: Write | None = None
    ) -> None:
        """As `write`, by *write* instead of the storage's; but raises `StorageError`."""
        if self._spooled and self._keep(event, _unless_it_ran(event, describe)):
            return
        write_event = write or (lambda event: self.storage.write((event,)))
        lacking = self._breaker.ask(lambda: write_event(event))
        self._add_message(event, lacking, describe)

    def write_later(self, event: TaskRecord, describe: Describe | None) -> bool:
        """Keep *event*, which the storage did not take, in the spool. True if that was possible."""
        kept = self._keep(event, describe)
        self._breaker.note(kept=kept)
        return kept

    def _add_message(
        self, event: TaskRecord, lacking: Collection[str], describe: Describe | None
    ) -> None:
        """Add the message to a record that has none: its publisher was not recorded.

        Where the id was published again, the end of a run tells which message it had.
        """
        if lacking and describe is not None and event.outcome is not None:
            now = self._clock.moment().at
            described = describe(event.outcome.stamp)
            ended = event.outcome.state in FINISHED and event.outcome.date_started is not None
            own = OwnMessage.of(described, described.stamp) if ended else None
            self.write(TaskRecord(event.task_id, now, now, message=described, own=own))

    # ---- questions, and schedules

    def get(self, task_id: str) -> TaskRecord | None:
        """The record of *task_id*. Raises `StorageError`."""
        return self._breaker.ask(lambda: self.storage.get(task_id))

    def now(self) -> datetime:
        """The storage's time. Raises `StorageError`, at once while the storage is not asked."""
        return self._breaker.ask(self.storage.now)

    def listen(self, ask: Callable[[], T]) -> T:
        """`ask()`, for threads that ask for themselves; if there is no answer no event waits.

        Raises `StorageError`.
        """
        return self._breaker.watch_for_silence(ask)

    def schedule(self, schedule: Schedule, event: TaskRecord) -> None:
        """Store *schedule* and *event* in one. Raises `StorageError`."""
        storage = self._schedules or with_schedules(self.storage)
        self._breaker.ask(lambda: storage.schedule(schedule, event))

    # ---- the spool

    @property
    def lags(self) -> bool:
        """True if something that this process wrote is not in the storage yet."""
        return self.flusher is not None and (self._spooled or not self.flusher.is_idle)

    @property
    def is_away(self) -> bool:
        """True if the storage is not asked, because it did not answer a moment ago."""
        return self._breaker.is_open

    @property
    def failures(self) -> int:
        """The number of calls that the storage did not answer."""
        return self._breaker.failures

    def keep(self, *frames: Frame) -> bool:
        """Keep *frames* in the spool until the storage takes them. True if that was possible."""
        return self.flusher is not None and self.flusher.keep(*frames)

    def _keep(self, event: TaskRecord, describe: Describe | None) -> bool:
        if self.flusher is None:
            return False
        if describe is not None and event.outcome is not None:
            # It cannot be known now if the record has a message: of two, the publisher's counts.
            event = replace(event, message=describe(event.outcome.stamp))
        return self.flusher.keep(event)

    def _look_for_others(self) -> None:
        """At its first event, have this process look for what dead ones could not write."""
        if self._is_new:
            self._is_new = False
            if self.flusher is not None:
                self.flusher.look()


def _unless_it_ran(event: TaskRecord, describe: Describe | None) -> Describe | None:
    """When every event is spooled, only the start of a run carries the message."""
    outcome = event.outcome
    ran = event.start is None and outcome is not None and outcome.date_started is not None
    return None if ran else describe


def _naming(event: TaskRecord, do: Callable[[], T]) -> T:
    """`do()`, saying of which task an event was refused."""
    try:
        return do()
    except Refused as error:
        raise Refused(f"task {event.task_id}: {error}") from error


def _nothing() -> None:
    pass
