"""The states of a task: Celery's, and those of the storage."""

from __future__ import annotations

SCHEDULED = "SCHEDULED"
SCHEDULED_SENT = "SCHEDULED_SENT"
PENDING = "PENDING"
UNSENT = "UNSENT"
STARTED = "STARTED"
RETRY = "RETRY"
SUCCESS = "SUCCESS"
FAILURE = "FAILURE"
REVOKED = "REVOKED"
REJECTED = "REJECTED"
IGNORED = "IGNORED"
NOT_RUN = "NOT_RUN"
"""Of a step that never ran, because one before it failed. Celery's result API calls it FAILURE."""
INTERRUPTED = "INTERRUPTED"
"""The end of an execution that was cut off; never the state of a task."""
FINISHED = frozenset({SUCCESS, FAILURE, REVOKED, REJECTED, IGNORED, NOT_RUN})
STATES = (
    SCHEDULED,
    SCHEDULED_SENT,
    PENDING,
    UNSENT,
    STARTED,
    RETRY,
    SUCCESS,
    FAILURE,
    REVOKED,
    REJECTED,
    IGNORED,
    NOT_RUN,
)


def is_open(state: str) -> bool:
    """True if something is still expected to happen to a task in *state*."""
    return state not in FINISHED and state != SCHEDULED
