"""The contract of a storage: the nine methods that a memory of tasks needs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from fullresult.record import TaskQuery, TaskRecord


class Storage(Protocol):
    """Keeps records.

    Every method is one atomic write or one consistent read. It may be called from any thread and
    in any process, and raises only `StorageError`, except for the `ValueError` of a query that JSON
    cannot hold. The storage connects at the first call in a process. A process may fork at any
    time: parent and child both go on using the storage, and neither disturbs the other.

    What is written is what is read: any text, any bytes, dates from 1970 to 9999. Only the JSON in
    `Message.args`, `Message.kwargs` and `Outcome.result` may come back with other spaces, key order
    or number spelling. `fullresult.testing.StorageSuite` has a test for each sentence here.
    """

    def setup(self) -> None:
        """Create what the storage needs, or upgrade what an older version made; records stay.

        Safe if several processes do it at once, and if it was done before.
        """
        ...

    def close(self) -> None:
        """Close the connections of this process. The storage may be used again."""
        ...

    def now(self) -> datetime:
        """The storage's own time: aware, UTC, to the millisecond."""
        ...

    def write(self, events: Sequence[TaskRecord]) -> Collection[str]:
        """Merge *events* into the records: at most one event per task, in the order of task ids.

        The result is that of `fullresult.record.merge`, whatever the order in which events come,
        however often each comes, and from however many processes at once; concurrent writers never
        block each other for good. No reader sees a part of an event. Returns once no event can be
        lost, except those for which `fullresult.storage.may_wait` is true.

        Returns the ids of those *events* without a message whose record has none, or was published
        more than once. Raises `Refused`, and writes
        none of *events*, if the storage cannot keep one of them as it is.
        """
        ...

    def get(self, task_id: str) -> TaskRecord | None:
        """The record with all its entries, in the order of their stamps; None if there is none."""
        ...

    def find(self, query: TaskQuery) -> list[TaskRecord]:
        """The records that match *query*, each as `get` returns it, in the query's order.

        Records of one moment are ordered by task id, compared by code point (backwards if newest
        first). Following `after` from page to page returns each record once, even while others
        are written.
        """
        ...

    def count(self, query: TaskQuery) -> int:
        """The number of records that match *query*; its `limit` and `after` are ignored."""
        ...

    def delete(self, query: TaskQuery) -> int:
        """Delete the records that `find` returns for *query*, with their entries.

        Returns how many. Later events of these tasks make new records. Schedules stay.
        """
        ...

    def delete_expired(self, now: datetime, limit: int) -> int:
        """Delete up to *limit* records whose outcome's `expire_at` is *now* or earlier.

        Goes from the earliest `expire_at` on. Their entries go too. Returns the number of records.
        Several callers may do it at once: a record that another deletes or writes at this moment
        may be left for a later call.
        """
        ...
