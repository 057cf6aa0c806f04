"""Helpers of the tests about schedules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from fullresult.record import REVOKED, SCHEDULED, STARTED
from fullresult.record.schedule import Schedule, ScheduleQuery
from fullresult.storage import Refused, ScheduleStorage
from fullresult.testing import samples

IMPOSSIBLE = "\x00 and \ud800"
"""A text that some databases cannot hold."""
LATER = samples.after(60_000)


def keep(storage: ScheduleStorage, *schedules: Schedule | str) -> None:
    """Store each schedule with its event; a text stands for a sample with that id."""
    for each in schedules:
        schedule = samples.schedule(each) if isinstance(each, str) else each
        storage.schedule(schedule, samples.scheduled(schedule))


def kept(storage: ScheduleStorage, **filters: Any) -> list[Schedule]:
    """All schedules in the storage, or those that match *filters*."""
    return storage.find_schedules(ScheduleQuery(limit=None, **filters))


def claim(
    storage: ScheduleStorage,
    *schedule_ids: str,
    by: str = "x",
    namespace: str = "shop",
    now: datetime = samples.NOON,
) -> list[Schedule]:
    """Claim exactly these, due or not; without any, all that is due."""
    if not schedule_ids:
        return storage.claim_due(namespace, now, by, 100)
    taken = [storage.take_over(each, by, now, instead_of=None) for each in schedule_ids]
    return [schedule for schedule in taken if schedule is not None]


def take_over(
    storage: ScheduleStorage, schedule_id: str, by: str = "x", *, instead_of: str | None = None
) -> Schedule | None:
    return storage.take_over(schedule_id, by, samples.NOON, instead_of=instead_of)


def cancel(storage: ScheduleStorage, schedule_id: str) -> bool:
    return storage.cancel(schedule_id, samples.became(f"task {schedule_id}", REVOKED))


def reschedule(storage: ScheduleStorage, schedule_id: str) -> bool:
    """Make it due at `LATER`."""
    event = samples.became(f"task {schedule_id}", STARTED)
    return storage.reschedule(schedule_id, LATER, event)


def is_refused(do: Callable[[], object]) -> bool:
    try:
        do()
    except Refused:
        return True
    return False


def check_gone(storage: ScheduleStorage, schedule_id: str) -> None:
    """Check that no method but `schedule` and `withdraw` knows of it."""
    query = ScheduleQuery(schedule_ids=[schedule_id])
    assert storage.find_schedules(query) == []
    assert storage.count_schedules(query) == 0
    assert schedule_id not in [each.schedule_id for each in claim(storage, by="gone")]
    for instead_of in (None, "x"):
        assert take_over(storage, schedule_id, instead_of=instead_of) is None
    assert list(storage.release([schedule_id])) == []
    assert list(storage.mark_sent("x", [schedule_id], [])) == []
    assert not storage.cancel(schedule_id, samples.became("none", REVOKED))
    assert not storage.reschedule(schedule_id, LATER, samples.became("none", SCHEDULED))
    assert storage.get("none") is None
    storage.mark_problem("x", schedule_id, "lost")
    storage.release([each.schedule_id for each in kept(storage)], "gone")
    if not kept(storage):
        assert storage.next_due("shop") is None


def ids(schedules: Sequence[Schedule]) -> list[str]:
    return [schedule.schedule_id for schedule in schedules]
