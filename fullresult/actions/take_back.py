"""What a cancelled re-send stood for is left to be dealt with again."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fullresult.recording.recorder import Recorder
    from fullresult.storage import Storage


def take_back(storage: Storage, recorder: Recorder, task_id: str) -> None:
    """Take back the mark that the task *task_id*, which was cancelled, is sent for another one.

    Raises `StorageError`.
    """
    record = storage.get(task_id)
    old = storage.get(record.retry_of) if record is not None and record.retry_of else None
    if old is None or record is None or old.resent_as != record.task_id:
        return
    event = old.sent_again(None, datetime.now(timezone.utc))
    if event is not None:
        recorder.writer.write(event)
