"""New arguments of a task, checked against its signature where its code is at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery import Celery

    from fullresult.record import TaskRecord


def check_signature(app: Celery, record: TaskRecord, args: Any, kwargs: Any) -> None:
    """Raises `TypeError` if the task would not take them; None is what is recorded."""
    if record.name is None or record.name not in app.tasks:
        return
    positional = record.args if args is None else args
    named = record.kwargs if kwargs is None else kwargs
    check_call(app, record.name, positional, named)


def check_call(app: Celery, name: str, args: Any, kwargs: Any) -> None:
    """Raises `TypeError` if the task called *name*, one of the app, would not take them."""
    task = app.tasks[name]
    header = getattr(task, "__header__", None)
    if header is not None and task.typing:
        header(*args, **kwargs)
