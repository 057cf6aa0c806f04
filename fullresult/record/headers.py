"""The headers of a message that are ours or a scheduler's."""

from __future__ import annotations

ENTRY_NAME = "periodic_task_name"
"""Names the entry of beat's plan. django-celery-beat invented this header."""
TRIGGERED = "fullresult_triggered"
"""Marks a periodic task that a person sent."""
ORIGINAL_ID = "fullresult_original_id"
"""Marks a task sent under a new id: that id, a space, the original id."""
RETRY_OF = "fullresult_retry_of"
"""Names the task that a member of a healed chord runs again."""
SCHEDULE_ID = "fullresult_schedule_id"
"""Names the schedule that a message was sent for. A retry that goes to the broker copies it."""
