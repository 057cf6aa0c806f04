"""Why a scheduled task could not be acted on: one sentence for all doors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fullresult.insight.overdue import Overdue, schedules_of
from fullresult.insight.words import local_exactly
from fullresult.record import encoding

if TYPE_CHECKING:
    from fullresult.config import Settings
    from fullresult.storage import Storage


def being_sent(task_id: str) -> str:
    """Why a task can be neither sent nor released: a sweeper is sending it."""
    return (
        f"task {task_id!r} was claimed by a sweeper within the last minute, and is about to be "
        "sent; look again in a minute"
    )


def why_not_moved(storage: Storage, task_id: str) -> str:
    """Why a task could be neither cancelled nor rescheduled."""
    found = schedules_of(storage, task_id)
    for schedule in found:
        if schedule.date_claimed:
            return (
                f"task {task_id!r} was claimed by a sweeper at "
                f"{local_exactly(schedule.date_claimed)}, and is sent or about to be"
            )
    return _changed(task_id) if found else _not_scheduled(storage, task_id)


def why_not_released(storage: Storage, settings: Settings, task_id: str) -> str:
    """Why a task could not be given back to the sweepers."""
    found, overdue = schedules_of(storage, task_id), Overdue(storage, settings)
    if any(map(overdue.is_being_sent, found)):
        return being_sent(task_id)
    if any(schedule.claimed for schedule in found):
        return _changed(task_id)
    if found:
        return f"task {task_id!r} is not claimed: it waits for a sweeper"
    return _not_scheduled(storage, task_id)


def _changed(task_id: str) -> str:
    return f"task {task_id!r} was changed by somebody else at this moment; try again"


def _not_scheduled(storage: Storage, task_id: str) -> str:
    record = storage.get(encoding.key(task_id))
    if record is None:
        return f"no task {task_id!r} is recorded"
    return f"task {task_id!r} is not scheduled: it is {record.state}"
