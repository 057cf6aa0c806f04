"""The contract of a storage, and what callers ask of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from fullresult.record import TaskRecord
from fullresult.record.query import TaskQuery

if TYPE_CHECKING:
    from fullresult.record.schedule import Schedule, ScheduleQuery


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

    def schedule(self, schedule: Schedule, event: TaskRecord) -> None:
        """Keep *schedule*, which has no claim, and merge *event*, both or neither.

        A schedule whose id is kept already, or was withdrawn, stays as it is, and only the event is
        merged. Returns once the storage will not lose it, whatever `write` may put off. Raises
        `Uncertain` where it may or may not have been kept, or may yet be.
        """
        ...

    def withdraw(self, schedule_id: str) -> None:
        """Make sure that this schedule is not claimed from now on, whether it is kept or not yet.

        One that is claimed stays. It is gone for all other methods.
        """
        ...

    def claim_due(self, namespace: str, now: datetime, claim: str, limit: int) -> list[Schedule]:
        """Claim up to *limit* schedules of *namespace* due at *now* or earlier, and return them.

        The first due first, only such as nobody has claimed, and each to one caller however many
        ask at once; none waits for another. Returns once the claims will not be lost. A claim is
        dated *now*.
        """
        ...

    def mark_sent(
        self, claim: str, schedule_ids: Collection[str], events: Sequence[TaskRecord]
    ) -> Collection[str]:
        """Close those of *schedule_ids* that *claim* has, and merge *events* as `write` does.

        Both or neither. Returns the ids of the schedules closed: they are kept no more.
        """
        ...

    def mark_problem(self, claim: str, schedule_id: str, problem: str) -> None:
        """Note why a schedule that *claim* has was not marked sent. It stays claimed."""
        ...

    def release(self, schedule_ids: Collection[str], claim: str | None = None) -> Collection[str]:
        """Give up the claim on those of *schedule_ids* that are claimed, and forget their problem.

        With *claim*, only on those it has. They can be claimed again. Returns their ids.
        """
        ...

    def take_over(
        self, schedule_id: str, claim: str, now: datetime, *, instead_of: str | None
    ) -> Schedule | None:
        """Claim one schedule whose claim is *instead_of*, due or not, and forget its problem.

        None, and nothing is changed, where there is none such: somebody else was faster. Returns
        once the claim will not be lost.
        """
        ...

    def cancel(self, schedule_id: str, event: TaskRecord) -> bool:
        """Close a schedule that nobody has claimed, and merge *event*.

        Both or, where there is none such, neither; returns which.
        """
        ...

    def reschedule(self, schedule_id: str, due: datetime, event: TaskRecord) -> bool:
        """Make a schedule that nobody has claimed due at another time, and merge *event*.

        Both or, where there is none such, neither; returns which.
        """
        ...

    def next_due(self, namespace: str) -> datetime | None:
        """When the first unclaimed schedule of *namespace* is due; None if there is none."""
        ...

    def find_schedules(self, query: ScheduleQuery) -> list[Schedule]:
        """The schedules *query* asks for, in the order of their due times, then of their ids.

        Pages that follow one another by `after` have each schedule once.
        """
        ...

    def count_schedules(self, query: ScheduleQuery) -> int:
        """How many schedules *query* asks for, whatever its `limit` and `after`."""
        ...

    def note_sweep(self, namespace: str, at: datetime) -> None:
        """Remember that a sweeper of *namespace* was at work at this time; it may be lost."""
        ...

    def last_sweep(self, namespace: str) -> datetime | None:
        """The latest time that `note_sweep` was told; None if it never was."""
        ...
