"""The events of schedules: sent, expired, cancelled, moved to another time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from kombu import Queue

from fullresult.config import Settings, is_recorded, mark_of
from fullresult.record import (
    PENDING,
    REVOKED,
    SCHEDULED,
    SCHEDULED_SENT,
    Outcome,
    TaskRecord,
    encoding,
)
from fullresult.record.schedule import Schedule
from fullresult.record.stamps import FIRST, Attempt, Clock, Moment, attempt_in
from fullresult.recording.capture import capture_payload
from fullresult.recording.message import Payload
from fullresult.recording.outcomes import entry_of, outcome_of, revoked_failure


class ScheduleEvents:
    """Makes events. Each is written together with the change of its schedule."""

    def __init__(self, settings: Settings) -> None:
        self._limits = settings.limits
        self._ignored = settings.ignore
        self._retention = settings.retention
        self._clock = Clock(mark_of(settings.namespace))

    def sent(self, schedule: Schedule, attempt: Attempt | None = None) -> list[TaskRecord]:
        """The broker has the message. *attempt* is the one in its headers, if they were read."""
        now = self._clock.moment()
        outcome = outcome_of(SCHEDULED_SENT, attempt or _attempt(schedule), now)
        if not is_recorded(schedule.name or "", self._ignored):
            # No worker will record how it goes on: for the record, that is the end.
            outcome = outcome._replace(open=False, date_done=now.at)
        if schedule.new_task_id is None:
            return [self._event(schedule, now.at, outcome, date_published=now.at)]
        result = json.dumps({"new_task_id": schedule.new_task_id})
        over = outcome._replace(open=False, date_done=now.at, result=result, result_form="json")
        old = self._event(schedule, now.at, over, date_published=now.at)
        return [old, self._published(schedule, schedule.new_task_id, now)]

    def _published(self, schedule: Schedule, task_id: str, now: Moment) -> TaskRecord:
        """The first event of a task with a new id."""
        stored = schedule.message
        payload = Payload(stored.body, stored.content_type, stored.content_encoding)
        how = {**stored.how, "declare": [Queue(each["name"]) for each in stored.how["declare"]]}
        outcome = self._dated(outcome_of(PENDING, FIRST, now), schedule)
        described = capture_payload(payload, stored.headers, how, outcome.stamp, self._limits)
        return TaskRecord(
            task_id, now.at, now.at, outcome=outcome, message=described, date_published=now.at
        )

    def ended(self, schedule: Schedule, reason: str) -> TaskRecord:
        """The task is not sent: it had expired, or was revoked."""
        now = self._clock.moment()
        failure = revoked_failure(schedule.name, reason)
        outcome = outcome_of(REVOKED, _attempt(schedule), now, failure=failure)
        return self._event(schedule, now.at, outcome, entries=(entry_of(outcome, now.at),))

    def moved(self, schedule: Schedule, due: datetime) -> TaskRecord:
        """The task is due at another time."""
        now = self._clock.moment()
        outcome = outcome_of(SCHEDULED, _attempt(schedule), now)
        return self._event(schedule, now.at, outcome._replace(stale_from=due))

    def _event(
        self, schedule: Schedule, at: datetime, outcome: Outcome, **known: Any
    ) -> TaskRecord:
        outcome = self._dated(outcome, schedule)
        return TaskRecord(schedule.task_id, at, at, outcome=outcome, **known)

    def _dated(self, outcome: Outcome, schedule: Schedule) -> Outcome:
        kept = self._retention
        return outcome if kept is None else kept.of(outcome, schedule.name)


def _attempt(schedule: Schedule) -> Attempt:
    headers = encoding.loads(schedule.headers)
    return attempt_in(headers) if isinstance(headers, Mapping) else Attempt()
