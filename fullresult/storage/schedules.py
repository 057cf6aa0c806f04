"""The contract of a storage that keeps schedules, too: `fullresult_schedule_eta` needs one."""

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

    A schedule waits, or one claim has it; `cancel`, `reschedule` and `withdraw` leave alone what is
    claimed. It is known by its id: a task may have several. No task is sent twice because two
    callers changed one schedule at once: the first to commit wins, and the other is told so.
    """

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


def with_schedules(storage: Storage) -> ScheduleStorage:
    """*storage*, if it keeps schedules. Raises `StorageError` if it does not."""
    if not isinstance(storage, ScheduleStorage):
        raise StorageError(f"{storage!r} keeps no schedules: no task can wait in it")
    return storage
