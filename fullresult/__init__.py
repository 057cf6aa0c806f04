"""The memory that Celery lacks: a record of every task in full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fullresult.actions.errors import CannotResend
    from fullresult.actions.pausing import CannotPause
    from fullresult.actions.stopping import CannotStop
    from fullresult.extension import FullResult
    from fullresult.record import Execution, TaskRecord
    from fullresult.scheduling.outbox_publisher import NotStorable
    from fullresult.storage import StorageError, TaskQuery

__all__ = [
    "CannotPause",
    "CannotResend",
    "CannotStop",
    "Execution",
    "FullResult",
    "NotStorable",
    "StorageError",
    "TaskQuery",
    "TaskRecord",
]

_HOMES = {
    "CannotPause": "actions.pausing",
    "CannotResend": "actions.errors",
    "CannotStop": "actions.stopping",
    "Execution": "record",
    "FullResult": "extension",
    "NotStorable": "scheduling.outbox_publisher",
    "StorageError": "storage",
    "TaskQuery": "storage",
    "TaskRecord": "record",
}


def __getattr__(name: str) -> Any:
    """Import a public name's module when it is asked for: importing the package does nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"fullresult.{_HOMES[name]}"), name)
