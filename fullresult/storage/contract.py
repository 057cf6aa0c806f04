"""The contract of a storage, and what callers ask of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from fullresult.record import TaskQuery, TaskRecord


class Storage(Protocol):
    """Where records are kept.

    Every method is one atomic write or one consistent read, may be called from any thread and in
    any process, and raises `StorageError` and nothing else, but for the `ValueError` of a query
    that JSON cannot hold. The storage connects when it is first
    asked something, in the process that asks. A process may fork at any time: parent and child both
    go on with the storage, and neither disturbs the other.

    What is written is what is read: any text, bytes and dates from 1970 to 9999. Only the JSON in
    `Message.args`, `Message.kwargs` and `Outcome.result` may come back spelt otherwise.
    `fullresult.testing.StorageSuite` has a test for each sentence here.
    """

    def setup(self) -> None:
        """Create what the storage needs, or upgrade what an older version made, records and all.

        Safe when many do it at once, and when it is done already.
        """
        ...

    def close(self) -> None:
        """Let go of the connections of this process, if any. The storage may be used again."""
        ...

    def now(self) -> datetime:
        """The storage's own time: aware, UTC, to the millisecond."""
        ...

    def write(self, events: Sequence[TaskRecord]) -> Collection[str]:
        """Merge *events*, at most one per task and in the order of their ids, into the records.

        The result is as if `fullresult.record.merging.merge` had been applied, in whatever order
        and however often events come, also from many processes at once: none stops another for
        good. Nobody ever sees a part of an event. Returns once the storage will not lose an event
        that says how a task stands for good; a start may wait.

        Returns the ids, of those written, whose record has no message. Raises `Refused`, and writes
        none of *events*, where the storage cannot keep one of them as it is.
        """
        ...

    def get(self, task_id: str) -> TaskRecord | None:
        """The record with all its entries, in the order of their stamps; None if there is none."""
        ...

    def find(self, query: TaskQuery) -> list[TaskRecord]:
        """The records *query* asks for, each as `get` would answer it, in its order.

        Ties are in the order of task ids, by code point, and reversed with the rest. Pages that
        follow one another by `after` have each record once, also while others are written.
        """
        ...

    def count(self, query: TaskQuery) -> int:
        """How many records *query* asks for, whatever its `limit` and `after`."""
        ...

    def delete(self, query: TaskQuery) -> int:
        """Delete the records that `find` would answer, its page only, with their entries.

        Returns how many. An event that comes later makes a new record. Schedules stay.
        """
        ...

    def delete_expired(self, now: datetime, limit: int) -> int:
        """Delete up to *limit* records whose outcome's `expire_at` is *now* or earlier.

        Those that expired first go first, with their entries, and as many expired groups and
        chords as well, where there are such. Returns how many records. Several may do so at once:
        what another is about to delete, or is being written, may be left to a later call.
        """
        ...
