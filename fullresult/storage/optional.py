"""What a storage may do beside: each protocol is asked for where it is needed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from fullresult.record import Stored, TaskRecord
from fullresult.record.query import TaskQuery

if TYPE_CHECKING:
    from fullresult.record.audit import AuditEntry, AuditQuery
    from fullresult.record.sample import Sample
    from fullresult.record.schedule import ScheduleQuery
    from fullresult.record.worker import Worker


@runtime_checkable
class OverlappingStorage(Protocol):
    """Optional: a storage that writes while its caller does something else."""

    def begin_write(self, event: TaskRecord) -> Callable[[], Collection[str]]:
        """Send *event* on its way; the function returned waits until `write` would have returned.

        It is called once, in the same thread, and returns and raises what `write` does. An event
        on its way is written even if its process ends before that call.
        """
        ...


@runtime_checkable
class WorkerStorage(Protocol):
    """Optional: which workers are alive. What is kept here may be lost with the storage's host."""

    def note_worker(self, worker: Worker) -> None:
        """Keep *worker*, or merge it into what is kept of its id.

        Of each date the latest counts, but for the earliest start and the earliest end, whatever
        the order in which they come.
        """
        ...

    def find_workers(self) -> list[Worker]:
        """All workers that are kept, in any order."""
        ...

    def forget_workers(self, seen_until: datetime) -> None:
        """Delete those that told last at this time or earlier."""
        ...


@runtime_checkable
class ResultStorage(Protocol):
    """Optional: what a result backend of Celery's keeps and asks, beside records.

    Ids are any text, as task ids are. What is kept here is as safe as the end of a task when the
    call returns, and may be gone once its *expire_at* is past; None: never.
    """

    def get_results(self, task_ids: Collection[str]) -> list[TaskRecord]:
        """The records of those of *task_ids* that have one, each once, in any order.

        As `get` would answer them, but for their entries, which may be missing.
        """
        ...

    def get_ended(self, task_ids: Collection[str], *, messages: bool = True) -> list[TaskRecord]:
        """Those that `get_results` answers of which nothing more is expected, in any order.

        Their states are in `fullresult.record.FINISHED`, or SCHEDULED_SENT and not open: a task
        that goes on under another id. Without *messages*, only the name, the queue, the parent and
        the group of each message need be answered, if there is one. Whoever waits for results asks
        this often, mostly in vain, and a chord asks it of all its members: it is to be fast.
        """
        ...

    def forget(self, task_id: str) -> None:
        """Delete the record of this task with its entries, if there is one."""
        ...

    def save_group(self, group_id: str, value: bytes, expire_at: datetime | None) -> None:
        """Keep *value* for this group, in the place of what was kept before."""
        ...

    def restore_group(self, group_id: str) -> bytes | None:
        """What is kept for this group; None where nothing is."""
        ...

    def delete_group(self, group_id: str) -> None:
        """Keep nothing for this group, whether anything was kept or not."""
        ...

    def join_chord(
        self,
        chord_id: str,
        member: str,
        size: int,
        expire_at: datetime | None,
        *,
        call: str | None = None,
    ) -> bool:
        """Note that *member* of the chord has ended; whether *size* members are now known.

        True for exactly one call: that by which the last of *size* different members became
        known, however many are told at once. A member that was known already counts no more and
        answers False, and so does one beyond *size*. The chord expires no earlier than any
        *expire_at* that a new member came with.

        Raises `Uncertain` where it may or may not have been noted, or may yet be. For a call that
        is then made again, *call* is a name of its own: the same call answers the same.
        """
        ...

    def forget_chord(self, chord_id: str) -> None:
        """Delete what is known of the members of this chord, whether any are known or not."""
        ...


@runtime_checkable
class JoiningStorage(Protocol):
    """Optional: a `ResultStorage` that writes the end of a chord's member and counts it at once."""

    def write_and_join(
        self,
        event: TaskRecord,
        chord_id: str,
        size: int,
        expire_at: datetime | None,
        *,
        call: str | None = None,
    ) -> tuple[Collection[str], bool]:
        """`write` *event*, and then `join_chord` for its task; returns what both do.

        A member that is counted has ended: who is told that the chord is complete finds the ends
        of all that were counted so. Raises what either does, and neither is done where *event* is
        refused. Made again, the same *call* answers the same; so does `join_chord`.
        """
        ...

    def get_successes(self, task_ids: Collection[str]) -> dict[str, Stored | str]:
        """What those of these tasks that succeeded returned, by their ids, and no more.

        As it was stored for that success; if nothing was, the JSON text of the record's result;
        and where it has none either, there is nothing.
        """
        ...


@runtime_checkable
class StatisticsStorage(Protocol):
    """Optional: what statistics are made of, for an effort that has a bound."""

    def sample(self, edges: Sequence[datetime], most: int) -> list[list[Sample]]:
        """The newest records created from each of *edges*, which ascend, to before the next.

        One list for each two neighbours, in their order: of at most *most*, the newest first. Each
        is one consistent read, and reads no more records than it answers.
        """
        ...

    def count_capped(self, query: TaskQuery | ScheduleQuery, most: int) -> int:
        """What `count` or `count_schedules` answers, or *most* where that is less.

        No more than *most* are counted.
        """
        ...


@runtime_checkable
class IndexedStorage(Protocol):
    """Optional: it knows which questions it answers without reading what nobody asked for."""

    def has_index(self, query: TaskQuery) -> bool:
        """Whether `find` leads to the records of *query* by an index.

        Where not, it reads one record after the other, those that do not match as well: whoever
        cannot wait for that asks with a `since`.
        """
        ...


@runtime_checkable
class AuditStorage(Protocol):
    """Optional: what people did, who and when. What is kept here is kept for good."""

    def keep_audit(self, entry: AuditEntry) -> None:
        """Keep *entry*; one whose id is kept already stays as it is.

        Returns once the storage will not lose it.
        """
        ...

    def find_audit(self, query: AuditQuery) -> list[AuditEntry]:
        """The entries *query* asks for, the newest first, of one moment in the order of their ids.

        By code point, and reversed like the rest. Pages that follow one another by `after` have
        each entry once, also while others are kept.
        """
        ...
