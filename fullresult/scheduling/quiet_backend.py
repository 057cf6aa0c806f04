"""Keeping the result backend out of it while a task is only stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from celery import Celery

_silent: ContextVar[bool] = ContextVar("fullresult_silent", default=False)


@contextmanager
def silent_backend(app: Celery) -> Iterator[None]:
    """`app.send_task`, called here, asks nothing of the result backend.

    Celery would have it subscribe to the result, or declare a queue for it; some backends connect
    as soon as they are made. None of that is needed to store a task, and it may be down.
    """
    token = _silent.set(True)
    try:
        with _stand_in_for_the_missing(app):
            yield
    finally:
        _silent.reset(token)


@contextmanager
def _stand_in_for_the_missing(app: Celery) -> Iterator[None]:
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
    """Keep *backend* from doing anything for a task that is only stored."""
    on_task_call = backend.on_task_call
    if getattr(on_task_call, "fullresult_gate", False):
        return

    def gated(producer: Any, task_id: str) -> Any:
        return None if _silent.get() else on_task_call(producer, task_id)

    gated.fullresult_gate = True  # type: ignore[attr-defined]
    backend.on_task_call = gated


class _Missing:
    """A result backend that cannot be made now: it is made when somebody asks for a result."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._was_made = False

    def on_task_call(self, producer: Any, task_id: str) -> None:
        pass

    def remove_pending_result(self, result: Any) -> Any:
        # Asked by every result as it goes away.
        return self._app.backend.remove_pending_result(result) if self._was_made else result

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._app.backend, name)
        self._was_made = True
        return found

    def __reduce__(self) -> Any:
        return self._app.backend.__reduce__()
