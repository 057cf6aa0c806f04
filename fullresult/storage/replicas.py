"""Replicas: how far a server has come, so that a copy can be compared with its original."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, Protocol, runtime_checkable


class Reached(NamedTuple):
    """What one server has of all changes, at one moment."""

    is_replica: bool
    """False if it takes writes itself."""
    place: int | None
    """Grows with each change, and is the same on all servers that have it; None: it cannot tell."""
    last: datetime | None
    """The date of the last change that it has; None if it knows of none."""
    now: datetime
    """By this server's clock."""
    family: str | None
    """The same for all copies of one original; None: it cannot tell."""


@runtime_checkable
class ReplicatedStorage(Protocol):
    """Optional: there may be copies of the storage, which follow it and can be read."""

    def has_replicas(self) -> bool:
        """False for a database that has none. Asks nothing."""
        ...

    def reached(self) -> Reached:
        """How far the server has come that the next read is likely to ask.

        Raises `StorageError`, also if what it has cannot be read by this version.
        """
        ...
