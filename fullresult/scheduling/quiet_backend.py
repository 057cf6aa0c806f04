"""Keeping the result backend quiet while a task is only stored, not sent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from celery import Celery

_is_quiet: ContextVar[bool] = ContextVar("fullresult_quiet", default=False)


@contextmanager
def quiet_backend(app: Celery) -> Iterator[None]:
    """Inside, `app.send_task` asks nothing of the result backend.

    Celery would have the backend subscribe to the result, or declare a queue for it; some backends
    connect as soon as they are made. To store a task needs none of that, and it may be down.
    """
    token = _is_quiet.set(True)
    try:
        with _stand_in_if_missing(app):
            yield
    finally:
        _is_quiet.reset(token)


@contextmanager
def _stand_in_if_missing(app: Celery) -> Iterator[None]:
    try:
        _gate(app.backend)
    except Exception:  # noqa: BLE001  (what the drivers of any backend raise)
        app._local.backend = _Missing(app)  # noqa: SLF001  (where Celery keeps this thread's)
        try:
            yield
        finally:
            del app._local.backend  # noqa: SLF001
    else:
        yield


def _gate(backend: Any) -> None:
    """Have *backend* do nothing for a task that is only stored."""
    on_task_call = backend.on_task_call
    if getattr(on_task_call, "fullresult_gate", False):
        return

    def gated(producer: Any, task_id: str) -> Any:
        return None if _is_quiet.get() else on_task_call(producer, task_id)

    gated.fullresult_gate = True  # type: ignore[attr-defined]
    backend.on_task_call = gated


class _Missing:
    """Stands in for a result backend that cannot be made now, until a result is asked for."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._was_made = False

    def on_task_call(self, producer: Any, task_id: str) -> None:
        pass

    def remove_pending_result(self, result: Any) -> Any:
        # Every result calls this as it is deleted.
        return self._app.backend.remove_pending_result(result) if self._was_made else result

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._app.backend, name)
        self._was_made = True
        return found

    def __reduce__(self) -> Any:
        return self._app.backend.__reduce__()
