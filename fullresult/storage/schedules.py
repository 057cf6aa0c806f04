"""The contract of a storage that keeps schedules too; `fullresult_schedule_eta` needs one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from fullresult.record import Schedule, ScheduleQuery, TaskRecord
from fullresult.storage.contract import Storage
from fullresult.storage.errors import StorageError


@runtime_checkable
class ScheduleStorage(Storage, Protocol):
    """A storage in which tasks wait until they are due.

    A schedule is known by its id; a task may have several. It waits until a claim takes it. If two
    callers change a schedule at once, the first to commit wins and the other is told so: each
    method changes only what is in the state it names.
    """

    def schedule(self, schedule: Schedule, event: TaskRecord) -> None:
        """Keep *schedule*, which has no claim, and merge *event*: both or neither.

        If a schedule with this id is kept already, or was withdrawn, only the event is merged.
        Returns once neither can be lost, `may_wait` or not. Raises `Uncertain` if the schedule may
        have been kept, or may still be.
        """
        ...

    def withdraw(self, schedule_id: str) -> None:
        """Make sure that this schedule is never claimed, even if it arrives later.

        A claimed schedule stays as it is. A withdrawn one is gone for every other method.
        """
        ...

    def claim_due(self, namespace: str, now: datetime, claim: str, limit: int) -> list[Schedule]:
        """Claim up to *limit* unclaimed schedules of *namespace* due at *now* or earlier.

        Returns them, the first due first. Each goes to one caller, however many ask at once, and no
        caller waits for another. Returns once the claims cannot be lost; they are dated *now*.
        """
        ...

    def mark_sent(
        self, claim: str, schedule_ids: Collection[str], events: Sequence[TaskRecord]
    ) -> Collection[str]:
        """Delete those of *schedule_ids* that *claim* has, and merge *events* as `write` does.

        Both or neither. Returns the ids of the schedules deleted.
        """
        ...

    def mark_problem(self, claim: str, schedule_id: str, problem: str) -> None:
        """Note why a schedule that *claim* has could not be marked sent. It stays claimed."""
        ...

    def release(self, schedule_ids: Collection[str], claim: str | None = None) -> Collection[str]:
        """Undo the claims on *schedule_ids*, and forget their problems.

        With *claim*, only those that it has. Returns the ids released; they can be claimed again.
        """
        ...

    def take_over(
        self, schedule_id: str, claim: str, now: datetime, *, instead_of: str | None
    ) -> Schedule | None:
        """Claim one schedule whose claim is *instead_of*, due or not, and forget its problem.

        If its claim is another by now, or it is gone, changes nothing and returns None. Returns
        once the claim cannot be lost.
        """
        ...

    def cancel(self, schedule_id: str, event: TaskRecord) -> bool:
        """Delete an unclaimed schedule and merge *event*.

        If there is no such schedule, does neither and returns False.
        """
        ...

    def reschedule(
        self,
        schedule_id: str,
        due: datetime,
        event: TaskRecord,
        *,
        instead_of: datetime | None = None,
    ) -> bool:
        """Make an unclaimed schedule due at another time, and merge *event*.

        With *instead_of*, only one that is due then. If there is no such schedule, does neither and
        returns False.
        """
        ...

    def next_due(self, namespace: str) -> datetime | None:
        """The due time of the first unclaimed schedule of *namespace*; None if there is none."""
        ...

    def find_schedules(self, query: ScheduleQuery) -> list[Schedule]:
        """The schedules that match *query*, in the order of their due times, then of their ids.

        Following `after` from page to page returns each schedule once.
        """
        ...

    def count_schedules(self, query: ScheduleQuery) -> int:
        """The number of schedules that match *query*; its `limit` and `after` are ignored."""
        ...

    def note_sweep(self, namespace: str, at: datetime) -> None:
        """Remember that a sweeper of *namespace* was at work at this time. May be lost."""
        ...

    def last_sweep(self, namespace: str) -> datetime | None:
        """The latest time given to `note_sweep` for *namespace*; None if there is none."""
        ...


def with_schedules(storage: Storage) -> ScheduleStorage:
    """*storage*, if it keeps schedules. Raises `StorageError` if it does not."""
    if not isinstance(storage, ScheduleStorage):
        raise StorageError("this storage keeps no schedules: no task can wait in it")
    return storage
