"""New arguments of a task, checked against its signature where its code is at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery import Celery

    from fullresult.record import TaskRecord


def check_signature(app: Celery, record: TaskRecord, args: Any, kwargs: Any) -> None:
    """Raises `TypeError` if the task would not take them; None is what is recorded."""
    task = app.tasks.get(record.name)
    header = getattr(task, "__header__", None)
    if task is None or header is None or not task.typing:
        return
    positional = record.args if args is None else args
    named = record.kwargs if kwargs is None else kwargs
    header(*positional, **named)
