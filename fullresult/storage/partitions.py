"""The optional part of the contract by which what expires together is dropped together."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol, runtime_checkable


@runtime_checkable
class PartitionedStorage(Protocol):
    """Optional: records that ended lie together by when they expire, and are dropped together."""

    def drop_partitions(self, now: datetime) -> int:
        """Drop all records that lie together and have expired; returns their number."""
        ...

    def move_ended(self, now: datetime, limit: int) -> bool:
        """Look at *limit* more records, and move those that ended to others that expire then.

        True if there are more to look at.
        """
        ...
