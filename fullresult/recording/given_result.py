"""A result, or an error, that Celery gives a result backend to keep."""

from __future__ import annotations

from typing import Any, NamedTuple

from celery.app.task import Context


class GivenResult(NamedTuple):
    """The arguments of a result backend's `store_result`."""

    task_id: str
    state: str
    value: Any
    """A result, or an exception."""
    encoded: Any
    """*value* as the backend's `encode_result` made it."""
    traceback: str | None
    request: Context | None
    never_ran: str | None = None
    """The reason if the task never ran: another one failed, and this is *its* error."""

    @property
    def own_request(self) -> Context | None:
        """The request, unless it is not the task's: a worker makes one up for an unknown task."""
        return self.request if getattr(self.request, "id", None) == self.task_id else None
