"""Re-sends that were cancelled or revoked before they ran: the old tasks are as they were."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from fullresult.record import NOT_RUN, REVOKED, UNSENT, TaskQuery, TaskRecord
from fullresult.recording.outcomes import is_grouped
from fullresult.storage import ReplayStorage, Storage


def marks_of(
    storage: Storage, olds: Sequence[TaskRecord], new_ids: Mapping[str, str], at: datetime
) -> list[TaskRecord]:
    """Events that have none of *olds* say that it was sent again under its one of *new_ids*.

    Nor may it come to say so: a replay marks some tasks after it took them. One that was sent again
    before is dealt with as it was then, and one that was since, as it is.
    """
    mine = [each for each in olds if each.resent_as in (None, new_ids[each.task_id])]
    before = {each.resent_before for each in mine}
    barred = never_ran(storage, filter(None, before))
    events = [
        each.sent_again(None if each.resent_before in barred else each.resent_before, at)
        for each in mine
    ]
    return [event for event in events if event is not None]


def never_ran(storage: Storage, ids: Iterable[str]) -> set[str]:
    """Those that ended before they began: cancelled or revoked, or refused by the broker.

    One that expired failed.
    """
    wanted = [*ids]
    states = (REVOKED, UNSENT, NOT_RUN)
    found = storage.find(TaskQuery(task_ids=wanted, state=states, limit=None)) if wanted else []
    return {
        record.task_id
        for record in found
        if record.start is None and not is_grouped(record.state, record.exception_message)
    }


def give_up(storage: Storage, new_ids: Mapping[str, str]) -> None:
    """Let replays take these tasks again, if one has sent them under these *new_ids*."""
    if isinstance(storage, ReplayStorage) and new_ids:
        storage.give_up_replayed(new_ids)
