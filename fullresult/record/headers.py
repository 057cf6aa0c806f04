"""The headers of a message that are ours or a scheduler's."""

from __future__ import annotations

ENTRY_NAME = "periodic_task_name"
"""The header that names the entry of beat's plan; django-celery-beat's name for it."""
TRIGGERED = "fullresult_triggered"
"""The header of a periodic task that was sent by hand."""
ORIGINAL_ID = "fullresult_original_id"
"""The header of a task that goes on for another: its own id, a space, and the other's."""
