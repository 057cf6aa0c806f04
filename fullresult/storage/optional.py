"""The optional parts of the contract: each is asked for by `isinstance` where it is needed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol, runtime_checkable

from fullresult.record import (
    AuditEntry,
    AuditQuery,
    Sample,
    ScheduleQuery,
    Shape,
    Stored,
    TaskQuery,
    TaskRecord,
    Worker,
    WorkerCard,
)


@runtime_checkable
class OverlappingStorage(Protocol):
    """Optional: writes an event while the caller does something else."""

    def begin_write(self, event: TaskRecord) -> Callable[[], Collection[str]]:
        """Send *event* to the storage; the function returned waits for the storage's answer.

        That function is called once, in the same thread, and returns and raises what `write` does.
        The event is written even if the process ends before that call.
        """
        ...


@runtime_checkable
class WorkerStorage(Protocol):
    """Optional: keeps which workers are alive. May be lost with the storage's host."""

    def note_worker(self, worker: Worker) -> None:
        """Keep *worker*, or merge it into the one kept with its id, in whatever order they come.

        `date_started` and `date_stopped` become the earliest known, the other dates the latest.
        """
        ...

    def find_workers(self) -> list[Worker]:
        """All workers kept, in any order."""
        ...

    def forget_workers(self, seen_until: datetime) -> None:
        """Delete the workers whose `date_seen` is at this time or earlier."""
        ...


@runtime_checkable
class CardStorage(Protocol):
    """Optional, for a `WorkerStorage`: keeps what each worker says of itself. May be lost, too."""

    def note_card(self, card: WorkerCard, names: str) -> None:
        """Keep *card* in place of one of the same worker that was written earlier.

        *names*, the text that `names_id` names, is kept once for all workers.
        """
        ...

    def find_cards(self, worker_ids: Collection[str] | None = None) -> list[WorkerCard]:
        """The cards of *worker_ids*, or all, in any order; workers without one are left out."""
        ...

    def find_names(self, names_ids: Collection[str]) -> dict[str, str]:
        """The texts kept for *names_ids*, by these; those that are not kept are left out."""
        ...

    def forget_gone(self, now: datetime, most: int) -> None:
        """Of the workers that are gone at *now*, keep the *most* that were seen last.

        Deletes the cards of workers that are not kept, and the names of a day ago or earlier that
        no card has.
        """
        ...


class CompleteChord(NamedTuple):
    """A chord all of whose members have ended."""

    chord_id: str
    run: int
    body: str
    """As `ResultStorage.begin_chord` was given it; "" where it was not."""


@runtime_checkable
class ResultStorage(Protocol):
    """Optional: keeps what Celery's result backend needs beside records: groups and chords.

    Ids are any text, as task ids are. When a call returns, what it keeps is as safe as the end of a
    task. It may be deleted once its *expire_at* is past; None means never.
    """

    def get_results(self, task_ids: Collection[str]) -> list[TaskRecord]:
        """The records of *task_ids*, each once, in any order; ids without a record are left out.

        Each is as `get` returns it, except that its entries may be missing.
        """
        ...

    def get_ended(self, task_ids: Collection[str], *, messages: bool = True) -> list[TaskRecord]:
        """Those records of `get_results` of which nothing more is expected, in any order.

        Their states are in `fullresult.record.FINISHED`, or SCHEDULED_SENT and not open: a task
        that goes on under another id. Without *messages*, a message needs only its name, queue,
        parent and group. This must be fast: it is polled while results are waited for, and a chord
        asks it for all its members.
        """
        ...

    def forget(self, task_id: str) -> None:
        """Delete the record of this task with its entries, if there is one."""
        ...

    def save_group(self, group_id: str, value: bytes, expire_at: datetime | None) -> None:
        """Keep *value* for this group; it replaces an earlier one."""
        ...

    def restore_group(self, group_id: str) -> bytes | None:
        """The value kept for this group; None if there is none."""
        ...

    def delete_group(self, group_id: str) -> None:
        """Delete what is kept for this group, if anything is."""
        ...

    def begin_chord(
        self, chord_id: str, size: int | None, body: str, expire_at: datetime | None
    ) -> int:
        """Note that a chord is about to be published; returns the number of this run, from 1.

        A complete chord begins its next run, with no member counted; any other goes on with its
        run. *size* is the number of its members, None if that is told later. *body* is kept for
        `take_complete_chords`.
        """
        ...

    def set_chord_size(self, chord_id: str, size: int, expire_at: datetime | None) -> None:
        """Note that the chord has *size* members, beside those of `add_to_chord`.

        The greatest size that is noted in a run counts. A chord that is complete stays so.
        """
        ...

    def add_to_chord(self, chord_id: str, added: str, expire_at: datetime | None) -> None:
        """Wait for one more member of the chord, unless it is complete.

        The same name *added* adds one member. It is no name of a member.
        """
        ...

    def join_chord(
        self,
        chord_id: str,
        member: str,
        size: int | None,
        expire_at: datetime | None,
        *,
        call: str | None = None,
    ) -> bool:
        """Note that *member* of the chord has ended; True if it is the last of this run.

        True for exactly one call of a run, however many members end at once: the one that makes all
        its members known. A member that is known already, in this run or an earlier one, or beyond
        the chord's size, gets False. *size* counts for a chord of which no size was noted. The
        chord expires no earlier than any *expire_at* that a new member came with.

        Raises `Uncertain` if the member may have been noted, or may still be. The caller then makes
        the call again with the same *call*, a name of its own, and gets the answer that was lost.
        """
        ...

    def get_members(self, chord_id: str) -> list[str]:
        """The names of all members that are known, and of all added, in any order."""
        ...

    def close_chord(self, chord_id: str, call: str) -> None:
        """Note that the body is sent of the chord that *call* completed, or took over."""
        ...

    def take_complete_chords(self, before: datetime, call: str, limit: int) -> list[CompleteChord]:
        """Take over at most *limit* chords that are complete since *before*, and not closed.

        Each goes to one caller: from then on it counts as completed now, by *call*.
        """
        ...

    def forget_chord(self, chord_id: str) -> None:
        """End the run of this chord, as if it were complete and closed; its members stay known."""
        ...

    def delete_expired_results(self, now: datetime, limit: int) -> bool:
        """Delete up to *limit* groups and *limit* chords whose *expire_at* is *now* or earlier.

        True if there may be more. Members go with their chords; of chords with very many members,
        in portions, one a call. A chord whose deletion has begun is forgotten. Several callers may
        do it at once.
        """
        ...


@runtime_checkable
class JoiningStorage(Protocol):
    """Optional, for a `ResultStorage`: writes the end of a chord's member and counts it in one."""

    def write_and_join(
        self,
        event: TaskRecord,
        chord_id: str,
        member: str,
        size: int | None,
        expire_at: datetime | None,
        *,
        call: str | None = None,
    ) -> tuple[Collection[str], bool]:
        """`write` *event*, then `join_chord` for *member*; returns the answers of both.

        No member is counted before its end is written: the caller that completes the chord finds
        the ends of all members counted this way. Raises what either raises; if *event* is refused,
        neither is done. Made again with the same *call*, this or `join_chord` answers the same.
        """
        ...

    def get_successes(self, task_ids: Collection[str]) -> dict[str, Stored | str]:
        """The results of those of these tasks that succeeded, by task id.

        A result is what was stored for that success; if nothing was stored, the JSON text of a
        result whose form is "json"; a task with neither is left out.
        """
        ...


class Alike(NamedTuple):
    """The number of records that statistics do not tell apart."""

    name: str | None
    state: str | None
    published: bool
    """True if they have a `date_published`."""
    started: bool
    """True if they have a `start`."""
    retried: bool
    """True if `retries` is greater than 0."""
    number: int


@runtime_checkable
class StatisticsStorage(Protocol):
    """Optional: answers what statistics are made of, with bounded work."""

    def sample(self, edges: Sequence[datetime], most: int) -> list[list[Sample]]:
        """The newest records of each span between two neighbours of *edges*, which ascend.

        A span has the records created at its first edge or later and before its second. Returns one
        list for each span, in order, of up to *most* records, the newest first. Each list is one
        consistent read that reads no more records than it returns.
        """
        ...

    def count_alike(self, since: datetime, until: datetime, most: int) -> list[Alike]:
        """The numbers of the newest records created *since* and before *until*, *most* at most.

        One consistent read, which reads no more records than that. The order is any.
        """
        ...

    def count_capped(self, query: TaskQuery | ScheduleQuery, most: int) -> int:
        """The number that `count` or `count_schedules` returns, or *most*, where counting stops.

        A storage that is no `ScheduleStorage` is asked with a `TaskQuery` only.
        """
        ...


class Tally(NamedTuple):
    """The number of records by state, as far as was looked."""

    by_state: dict[str, int]
    is_all: bool
    """True if no record was left unlooked at."""


class Walked(NamedTuple):
    """Records of a part of a listing."""

    records: list[TaskRecord]
    after: str | None
    """Where the next part begins, for `TaskQuery(after=…)`; None: this was the last."""


@runtime_checkable
class WalkingStorage(Protocol):
    """Optional: looks at a part of the records at a time, however many there are.

    Both methods go along the records of the states that *query* asks for, or of them all, in its
    order, and look at the first *looked* of them; each is one consistent read of about that length.
    """

    def tally(self, query: TaskQuery, looked: int) -> Tally:
        """The number of those that match *query*, by state; its `limit` and `after` are ignored."""
        ...

    def walk(self, query: TaskQuery, looked: int) -> Walked:
        """Those that match *query*, up to its limit, each as `get` returns it.

        Following `after` to the end returns what `find` does without a limit.
        """
        ...


class ShapePage(NamedTuple):
    """The shapes of the messages of a page of records."""

    shapes: tuple[Shape, ...]
    apart: tuple[str, ...]
    """The ids of the page's records that are not counted, in any order."""
    after: str | None
    """The cursor of the page's last record; None if it has none."""


@runtime_checkable
class ShapeStorage(Protocol):
    """Optional: tells apart how messages call their tasks, and counts them.

    Not counted are records of which only a look at each tells: messages that carry other tasks (a
    signature in their body, or a task named `celery.*`), and those whose arguments are in the body
    alone.
    """

    def shapes(self, query: TaskQuery) -> ShapePage:
        """The shapes of the page that `find` returns for *query*, which asks for the oldest first.

        Each is what `Shape.of` makes of its records, with their number; its example is any of them.
        """
        ...


@runtime_checkable
class PrefixStorage(Protocol):
    """Optional: finds ids by their beginning, so that people need not type them whole."""

    def ids_beginning(self, beginning: str, most: int) -> list[str]:
        """The least ids of records that begin so, by code points, *most* at most."""
        ...


@runtime_checkable
class IndexedStorage(Protocol):
    """Optional: knows which queries it answers by an index."""

    def has_index(self, query: TaskQuery) -> bool:
        """True if `find` reaches the records of *query* by an index.

        If not, `find` reads record after record, including those that do not match; a caller that
        cannot wait for that limits the query with `since`.
        """
        ...


@runtime_checkable
class FileStorage(Protocol):
    """Optional: may keep its records in a file of this host."""

    def missing_file(self) -> str | None:
        """The path of the file, if there is none yet. Makes none."""
        ...


@runtime_checkable
class AuditStorage(Protocol):
    """Optional: keeps an audit log, who did what and when. No entry is ever changed."""

    def keep_audit(self, entry: AuditEntry) -> None:
        """Keep *entry*; if its id is kept already, that entry stays as it is.

        Returns once the entry that is kept cannot be lost, and whoever asks finds it.
        """
        ...

    def find_audit(self, query: AuditQuery) -> list[AuditEntry]:
        """The entries that match *query*, the newest first.

        Entries of one moment are ordered by id, compared by code point, the greatest first.
        Following `after` from page to page returns each entry once, even while others are kept.
        """
        ...

    def forget_audit(self, until: datetime, limit: int) -> int:
        """Delete up to *limit* entries dated *until* or earlier, the oldest first.

        Returns how many.
        """
        ...
