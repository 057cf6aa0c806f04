"""Which events a storage may lose with its host; their writes need not wait for the disk."""

from __future__ import annotations

from fullresult.record import PENDING, STARTED, TaskRecord

_MAY_WAIT = frozenset({PENDING, STARTED})


def may_wait(event: TaskRecord) -> bool:
    """True for a publish or a start: the next event of the worker repeats most of it."""
    return event.outcome is not None and event.outcome.state in _MAY_WAIT
