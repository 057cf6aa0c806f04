"""A periodic task sent now, as beat would send it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery.beat import BeatLazyFunc

from fullresult.record import ENTRY_NAME, TRIGGERED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celery import Celery
    from celery.beat import ScheduleEntry
    from celery.result import AsyncResult


class Trigger:
    """Sends periodic tasks of one app. Beat does not know, and keeps its plan."""

    def __init__(self, app: Celery, entries: Iterable[ScheduleEntry]) -> None:
        self._app = app
        self._entries = {entry.name: entry for entry in entries}

    def send(self, name: str) -> AsyncResult[Any]:
        """Send the periodic task called *name*.

        Raises `LookupError` for an unknown name, and what the broker raises.
        """
        if name not in self._entries:
            known = ", ".join(map(repr, self._entries)) or "none"
            raise LookupError(f"no periodic task is called {name!r}; there are: {known}")
        return self._send(self._entries[name])

    def _send(self, entry: ScheduleEntry) -> AsyncResult[Any]:
        """Send it with the headers of beat, except the one that says that beat sent it."""
        args = [_made(value) for value in entry.args or ()]
        kwargs = {key: _made(value) for key, value in (entry.kwargs or {}).items()}
        options = dict(entry.options or {})
        marks = {ENTRY_NAME: entry.name, TRIGGERED: True}
        options["headers"] = {**(options.get("headers") or {}), **marks}
        options["headers"].pop("celery_beat_task", None)
        task = self._app.tasks.get(entry.task)
        if task is None:
            return self._app.send_task(entry.task, args, kwargs, **options)
        return task.apply_async(args, kwargs, **options)


def _made(value: Any) -> Any:
    return value() if isinstance(value, BeatLazyFunc) else value
