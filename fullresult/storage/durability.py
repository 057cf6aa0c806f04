"""Which events a storage may lose with its host, and so need not wait for the disk with."""

from __future__ import annotations

from fullresult.record import PENDING, STARTED, TaskRecord

_MAY_WAIT = frozenset({PENDING, STARTED})


def may_wait(event: TaskRecord) -> bool:
    """True for a publish or a start: the worker's next event tells most of it again."""
    return event.outcome is not None and event.outcome.state in _MAY_WAIT
