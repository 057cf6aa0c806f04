"""The contract of a storage, and what callers ask of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from fullresult.record import Stored, TaskRecord, pages

if TYPE_CHECKING:
    from fullresult.actions.audit import AuditEntry, AuditQuery
    from fullresult.insight.statistics import Sample
    from fullresult.record.schedule import Schedule, ScheduleQuery
    from fullresult.record.worker import Worker


class StorageError(Exception):
    """A storage could not do what it was asked; the message says what to check."""


class Uncertain(StorageError):
    """What was to be kept may have been, or may yet be: the answer did not come."""


class Refused(StorageError):
    """The storage answers, but does not take this event; the message says why."""


@dataclass(frozen=True)
class TaskQuery:
    """Which records, and in what order. Every field narrows; None asks nothing."""

    state: str | Collection[str] | None = None
    """One state, or any of several."""
    name: str | None = None
    """A glob: `*`, `?` and `[…]` as in `fnmatch.fnmatchcase`; without any, the name itself."""
    queue: str | None = None
    worker: str | None = None
    root_id: str | None = None
    group_id: str | None = None
    retry_of: str | None = None
    since: datetime | None = None
    """Created at this time or later."""
    until: datetime | None = None
    """Created before this time."""
    text: str | None = None
    """Part of the name, id, exception type or exception message.

    Its characters stand for themselves, ASCII letters in any case; other letters may or may not.
    """
    args: Sequence[Any] | None = None
    """The first positional arguments, in order; each matches like a value of *kwargs*."""
    kwargs: Mapping[str, Any] | None = None
    """Keyword arguments among those of the task.

    A dict matches inside a dict: `{}` any. Anything else matches what equals it as JSON: a list the
    whole list, a number by its value, never a bool, None only null. A task whose arguments were not
    kept matches none. What JSON cannot hold is a `ValueError` of the method that is asked.
    """
    moved_before: datetime | None = None
    """Last moved, or due, at this time or earlier."""
    open: bool | None = None
    """Whether something is still expected to happen to it."""
    not_state: Collection[str] = ()
    """None of these states. A record without an outcome is found neither so nor by *state*."""
    limit: int | None = 100
    """At most so many; None: all."""
    after: str | None = None
    """The `cursor` of the last record of the page before."""
    order: Literal["newest", "oldest"] = "newest"
    """By the time of creation."""

    def __post_init__(self) -> None:
        pages.check(self, "since", "until", "moved_before")
        if self.order not in ("newest", "oldest"):
            raise ValueError(f'TaskQuery.order must be "newest" or "oldest", not {self.order!r}')

    @property
    def states(self) -> tuple[str, ...] | None:
        """`state` as a tuple."""
        if self.state is None:
            return None
        return (self.state,) if isinstance(self.state, str) else tuple(self.state)

    @property
    def position(self) -> pages.Position | None:
        """`after` as (date created, task id)."""
        return pages.position(self, "a record")

    @property
    def name_is_glob(self) -> bool:
        """Whether `name` has wildcards."""
        return self.name is not None and not set(self.name).isdisjoint("*?[")


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
