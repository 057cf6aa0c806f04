"""At home in Django: `INSTALLED_APPS += ["fullresult.django"]`. Needs `fullresult[django]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fullresult.django.captured import captured_tasks
    from fullresult.django.task import ScheduledTask, Task

__all__ = ["ScheduledTask", "Task", "captured_tasks"]


def __getattr__(name: str) -> Any:
    """Import the name when it is asked for: Django loads this package before its settings."""
    if name == "captured_tasks":
        from fullresult.django.captured import captured_tasks

        return captured_tasks
    if name in {"ScheduledTask", "Task"}:
        from fullresult.django import task

        return getattr(task, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
