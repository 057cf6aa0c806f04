"""Calls that were not sent, as a test looks at them and runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from celery import current_app

from fullresult.django.site import app_of_site


class CapturedTask(NamedTuple):
    """A call that was not sent."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    task_id: str
    options: dict[str, Any]
    """The other options of `apply_async`: `countdown`, `queue`, …"""


class CapturedTasks(list[CapturedTask]):
    """The calls in their order."""

    @property
    def names(self) -> list[str]:
        return [task.name for task in self]

    def keep(self, given: Sequence[Any], options: Mapping[str, Any]) -> None:
        """Add a call of `send_task`."""
        parts = dict(zip(("name", "args", "kwargs"), given, strict=False))
        rest = {key: value for key, value in options.items() if value is not None}
        name, task_id = str(parts.get("name") or rest.pop("name", "")), rest.pop("task_id")
        args = parts.get("args") or rest.pop("args", None) or ()
        kwargs = parts.get("kwargs") or rest.pop("kwargs", None) or {}
        self.append(CapturedTask(name, tuple(args), dict(kwargs), str(task_id), rest))

    def run(self) -> list[Any]:
        """Run the tasks here, in their order, and those that they publish; the answers are theirs.

        A task's exception goes on. No ETA is waited for.
        """
        app = app_of_site() or current_app
        results = []
        while self:
            task = self.pop(0)
            run = app.tasks[task.name].apply(
                args=task.args, kwargs=task.kwargs, task_id=task.task_id, throw=True
            )
            results.append(run.get())
        return results
