"""What is scheduled and due for too long, and whether somebody is sending it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from fullresult.record import encoding
from fullresult.record.schedule import Schedule, ScheduleQuery

if TYPE_CHECKING:
    from fullresult.extension import FullResult
    from fullresult.storage import TaskQuery


_BATCH = 100
_BEING_SENT = timedelta(minutes=1)
"""A younger claim is a sweeper's at work: it takes some milliseconds, unless the broker stalls."""


def schedules_of(full: FullResult, task_id: str) -> list[Schedule]:
    """Those of one task, the first due first."""
    return full.storage.find_schedules(ScheduleQuery(task_ids=[encoding.key(task_id)], limit=None))


def pages(
    full: FullResult,
    query: TaskQuery | None = None,
    *,
    due_until: datetime | None = None,
    claimed: bool | None = None,
) -> Iterator[Schedule]:
    """All that `FullResult.scheduled` has pages of, also while some of them go."""
    after = None
    while found := full.scheduled(
        query, due_until=due_until, claimed=claimed, limit=_BATCH, after=after
    ):
        yield from found
        after = found[-1].cursor


def is_being_sent(schedule: Schedule, now: datetime) -> bool:
    """Whether a sweeper has only just claimed it."""
    return schedule.date_claimed is not None and now - schedule.date_claimed < _BEING_SENT


def late(
    full: FullResult,
    age: timedelta,
    *,
    claimed: bool | None = None,
    query: TaskQuery | None = None,
) -> Iterator[Schedule]:
    """Those of this broker that have been due for *age*, and may be sent by hand.

    A claim has to be as old: what it was for may be on its way now.
    """
    now = full.storage.now()
    for schedule in pages(full, query, due_until=now - age, claimed=claimed):
        since = schedule.date_claimed or schedule.due
        if (
            schedule.namespace == full.settings.namespace
            and since <= now - age
            and not is_being_sent(schedule, now)
        ):
            yield schedule
