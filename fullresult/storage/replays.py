"""The optional part of the contract that keeps replays, and the tasks that each took."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timezone
from typing import Protocol, runtime_checkable

from fullresult.record.replay import Replay, ReplayCounts, Replayed, Taking
from fullresult.storage.errors import StorageError
from fullresult.storage.schedules import ScheduleStorage

NOT_YET = datetime(8999, 1, 1, tzinfo=timezone.utc)
"""When a schedule is due that is kept before its replay is, by a storage that keeps one after the
other: if the call is cut off, it is not sent."""


@runtime_checkable
class ReplayStorage(ScheduleStorage, Protocol):
    """Optional, for a `ScheduleStorage`: keeps replays. What it keeps is durable.

    A task is taken by one replay at most, until that gives it up.
    """

    def keep_replay(self, replay: Replay, *, instead_of: int | None) -> bool:
        """Keep *replay* in place of its version *instead_of*, or as the first if that is None.

        If another version is kept by now, changes nothing and returns False.
        """
        ...

    def find_replays(
        self,
        *,
        replay_ids: Collection[str] | None = None,
        namespace: str | None = None,
        states: Collection[str] | None = None,
        limit: int = 100,
    ) -> list[Replay]:
        """The replays that match all that is given, the newest first."""
        ...

    def take_for_replay(
        self, replay: Replay, takings: Sequence[Taking], *, instead_of: int
    ) -> Collection[str] | None:
        """Keep *replay* as `keep_replay` does, and with it the schedule and events of each taking.

        A task that a replay has taken already is left alone; returns the ids of the others. If
        another version is kept by now, changes nothing and returns None. No schedule is ever kept
        twice, also if this call is made again, by another process, after it was cut off;
        of one that was marked sent, an event says so. None is due, but at `NOT_YET`, before the
        replay is kept.
        """
        ...

    def finish_taking(self, replay_id: str) -> bool:
        """Do the rest of a call of `take_for_replay` that was cut off after it kept the replay.

        Returns False if some of it can only be done later.
        """
        ...

    def count_replayed(self, replay_id: str, most: int) -> ReplayCounts:
        """What became of the last *most* tasks that this replay took."""
        ...

    def find_replayed(
        self, replay_id: str, *, before: int | None = None, limit: int
    ) -> list[Replayed]:
        """What this replay took, the last first; with *before*, of positions below that.

        *limit* of them, and those that stand at one position with the last.
        """
        ...

    def give_up_replayed(self, new_ids: Mapping[str, str]) -> None:
        """Forget that a replay took these tasks, if it sends them under these new ids.

        By the tasks' own ids. Another replay may take them.
        """
        ...

    def forget_replays(self, until: datetime, limit: int) -> int:
        """Delete up to *limit* of what replays took that are over and were created until then.

        A replay goes when nothing is left of what it took. Returns how many were deleted.
        """
        ...


def with_replays(storage: object) -> ReplayStorage:
    """*storage*, if it keeps replays. Raises `StorageError` if it does not."""
    if not isinstance(storage, ReplayStorage):
        raise StorageError("this storage keeps no replays")
    return storage
