"""What became of tasks that were sent again."""

from __future__ import annotations

from collections.abc import Sequence

from fullresult.record import TaskRecord
from fullresult.storage import Storage, TaskQuery


def states_of_resent(storage: Storage, records: Sequence[TaskRecord]) -> dict[str, str | None]:
    """The state of the task that each of *records* was sent again as, by the old id.

    None if that task is not recorded any more. Raises `StorageError`.
    """
    again = {record.task_id: record.resent_as for record in records if record.resent_as}
    if not again:
        return {}
    new = set(filter(None, again.values()))
    states = {
        each.task_id: each.state for each in storage.find(TaskQuery(task_ids=new, limit=None))
    }
    return {old: states.get(new_id or "") for old, new_id in again.items()}
