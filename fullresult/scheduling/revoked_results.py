"""The results of tasks that are revoked in the storage and never reach a worker."""

from __future__ import annotations

import logging

from celery import Celery, states
from celery.app.task import Context
from celery.exceptions import TaskRevokedError

from fullresult.record import encoding
from fullresult.record.schedule import Schedule
from fullresult.scheduling.original_ids import (
    follows,
    is_ignored,
    original_in,
    pointer_in,
    store_for,
)

logger = logging.getLogger(__name__)


def store_revoked(app: Celery, schedule: Schedule, reason: str) -> bool:
    """Store REVOKED as the result of a scheduled task. True if that was possible."""
    try:
        request = _request_of(schedule)
        task = app.tasks.get(schedule.name)
        backend = (app if task is None else task).backend
        ignored = task is not None and is_ignored(task, request, states.REVOKED)
        ignored = ignored or follows(backend)  # the record has it already
        backend.mark_as_revoked(schedule.task_id, reason, request=request, store_result=not ignored)
        original = original_in(pointer_in(request), schedule.task_id)
        if original and not ignored:
            store_for(backend, original, TaskRevokedError(reason), states.REVOKED, None, request)
    except Exception:
        logger.exception(
            "fullresult: the result backend does not know that task %s is %s",
            schedule.task_id,
            reason,
        )
        return False
    return True


def _request_of(schedule: Schedule) -> Context:
    """The parts of a worker's request that result backends use."""
    request = Context(encoding.loads(schedule.headers))
    how = encoding.loads(schedule.how)
    request.update(reply_to=how.get("reply_to"), correlation_id=how.get("correlation_id"))
    if how.get("content_type") == "application/json":  # no other content is decoded here
        request.update(encoding.loads(schedule.body.decode())[2] or {})
    return request
