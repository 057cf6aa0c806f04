"""What a re-send stood for that was cancelled or revoked is left to be dealt with again."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fullresult.recording.recorder import Recorder
    from fullresult.storage import Storage


def take_back(storage: Storage, recorder: Recorder, task_id: str) -> None:
    """Take back the mark that the task *task_id* is sent for another one, if it did not begin.

    It was cancelled or revoked. Raises `StorageError`.
    """
    record = storage.get(task_id)
    if record is not None and record.start is not None:
        return  # it was faster
    old = storage.get(record.retry_of) if record is not None and record.retry_of else None
    if old is None or record is None or old.resent_as != record.task_id:
        return
    event = old.sent_again(None, datetime.now(timezone.utc))
    if event is not None:
        recorder.writer.write(event)
