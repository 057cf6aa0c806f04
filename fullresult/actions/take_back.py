"""What a re-send stood for that was cancelled or revoked is left to be dealt with again."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from fullresult.scheduling import taken_back

if TYPE_CHECKING:
    from fullresult.recording.recorder import Recorder
    from fullresult.storage import Storage


def take_back(storage: Storage, recorder: Recorder, task_id: str) -> None:
    """Take back the mark that the task *task_id* is sent for another one, if it did not begin.

    It was cancelled or revoked; if a replay had sent it, another may. Raises `StorageError`.
    """
    record = storage.get(task_id)
    if record is None or record.retry_of is None or record.start is not None:
        return  # it was faster, or stands for none
    new_ids = {record.retry_of: record.task_id}
    taken_back.give_up(storage, new_ids)
    old = storage.get(record.retry_of)
    if old is None or old.resent_as != record.task_id:
        return
    for event in taken_back.marks_of(storage, [old], new_ids, datetime.now(timezone.utc)):
        recorder.writer.write(event)
