"""The protocol of a database under the storage: its statements, and how it runs them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from fullresult.record import Replay, Schedule, Taking, TaskRecord
from fullresult.storage import CommitListener, Identity, Reached, TaskQuery
from fullresult_storage_sql.outbox_channels import Dialect
from fullresult_storage_sql.outbox_statements import Outlet

Condition = tuple[str, list[Any]]
"""SQL, and the values of its placeholders."""
Path = tuple[str | int, ...]
"""Keys and indexes that lead to a value in JSON."""


class Joining(NamedTuple):
    """A member that joins a chord."""

    chord_id: str
    member: str
    size: int | None
    expires: str | None
    call: str


class Database(Protocol):
    """One database.

    Every method raises `StorageError` and nothing else. All but `migrate` and `check` expect the
    newest schema. What a change of a schedule, a result or the audit log returns from is durable.
    """

    @property
    def placeholder(self) -> str:
        """The sign for a value in a statement."""
        ...

    @property
    def sql(self) -> dict[str, str]:
        """Its statements by name."""
        ...

    def migrate(self, *, patient: bool) -> None:
        """Bring the schema to the newest version, one process at a time.

        Waits for other processes without limit if *patient*, else no longer than the timeout.
        """
        ...

    def check(self) -> None:
        """Raise `StorageError` unless the schema has the newest version."""
        ...

    def close(self) -> None:
        """Close this process's idle connections."""
        ...

    def ask(self, sql: str, values: Sequence[Any]) -> list[Sequence[Any]]:
        """Run one statement, by itself, and return its rows."""
        ...

    def change(
        self, sql: str, values: Sequence[Any], event: TaskRecord | None = None
    ) -> list[Sequence[Any]]:
        """Run one statement durably and return its rows; if there are any, merge *event* too."""
        ...

    def keep(self, sql: str, values: Sequence[Any]) -> list[Sequence[Any]]:
        """Run one statement that may be run twice, by itself, and return its rows."""
        ...

    def many(self, ids: Collection[str]) -> Any:
        """Any number of ids as the value of one parameter."""
        ...

    # Conditions

    def json_index(self, query: TaskQuery) -> Literal["in order", "unordered"] | None:
        """How an index answers the JSON of *query*, if one does."""
        ...

    def name_like(self, pattern: str) -> Condition:
        """`name` matches a glob."""
        ...

    def contains(self, column: str, value: Any) -> Iterator[Condition]:
        """The JSON in *column* has *value*, an object, in it."""
        ...

    def item_is(self, column: str, path: Path, value: Any) -> Iterator[Condition]:
        """The item at *path* of the JSON in *column* is *value*, or has it in it if an object."""
        ...

    def any_of(self, column: str, values: list[str]) -> Condition:
        """*column* is one of *values*."""
        ...

    def in_sections(self, sections: list[str]) -> Condition:
        """The record is in one of *sections*, said so that an index is found."""
        ...

    def none_of(self, column: str, values: list[str]) -> Condition:
        """*column* is none of *values*."""
        ...

    def has_text(self, columns: tuple[str, ...], text: str) -> Condition:
        """One of *columns* contains *text*, in any case."""
        ...

    # Records

    def missing_file(self) -> str | None:
        """`FileStorage.missing_file`."""
        ...

    def write(self, events: Sequence[TaskRecord]) -> list[str]:
        """`Storage.write`."""
        ...

    def begin_write(self, event: TaskRecord) -> Callable[[], list[str]]:
        """`OverlappingStorage.begin_write`."""
        ...

    def delete(self, found: str, values: Sequence[Any]) -> int:
        """Delete the records whose ids the statement *found* selects, and their entries."""
        ...

    def delete_expired(self, now: datetime, limit: int) -> int:
        """`Storage.delete_expired`."""
        ...

    # Schedules

    def schedule(self, schedule: Schedule, event: TaskRecord) -> None:
        """`ScheduleStorage.schedule`."""
        ...

    def claim_due(
        self, namespace: str, now: datetime, claim: str, limit: int
    ) -> list[Sequence[Any]]:
        """`ScheduleStorage.claim_due`, as rows in any order."""
        ...

    def mark_sent(
        self, claim: str, schedule_ids: Collection[str], events: Sequence[TaskRecord]
    ) -> list[str]:
        """`ScheduleStorage.mark_sent`."""
        ...

    def next_due(self, namespace: str) -> list[Sequence[Any]]:
        """The due time of the first unclaimed schedule, as the only value of the only row."""
        ...

    def take_for_replay(
        self, replay: Replay, takings: Sequence[Taking], instead_of: int
    ) -> list[str] | None:
        """`ReplayStorage.take_for_replay`, in one transaction."""
        ...

    # The outbox

    @property
    def dialect(self) -> Dialect:
        """The kind of database that a caller's connection has to lead to."""
        ...

    def identity(self) -> Identity:
        """`OutboxStorage.identity`."""
        ...

    def outlet(self) -> Outlet:
        """Its statements on a connection of a caller's."""
        ...

    def listener(self, namespace: str) -> CommitListener | None:
        """`OutboxStorage.listener`."""
        ...

    # Replicas

    def reached(self) -> Reached:
        """`ReplicatedStorage.reached`."""
        ...

    # Results

    def get_results(self, task_ids: Collection[str]) -> list[Sequence[Any]]:
        """`ResultStorage.get_results`, as rows of `rows.COLUMNS`."""
        ...

    def get_ended(self, task_ids: Collection[str], *, messages: bool) -> list[Sequence[Any]]:
        """`ResultStorage.get_ended`, as rows of `rows.COLUMNS`."""
        ...

    def get_successes(self, task_ids: Collection[str]) -> list[Sequence[Any]]:
        """`JoiningStorage.get_successes`: rows of an id, a text, and the fields of a `Stored`."""
        ...

    def join_chord(self, joining: Joining) -> bool:
        """`ResultStorage.join_chord`."""
        ...

    def write_and_join(self, event: TaskRecord, joining: Joining) -> tuple[list[str], bool]:
        """`JoiningStorage.write_and_join`, in one transaction."""
        ...

    def begin_chord(self, chord_id: str, size: int | None, body: str, expires: str | None) -> int:
        """`ResultStorage.begin_chord`."""
        ...

    def add_to_chord(self, chord_id: str, added: str, expires: str | None) -> None:
        """`ResultStorage.add_to_chord`."""
        ...

        ...

    def forget_audit(self, until: str, limit: int) -> int:
        """`AuditStorage.forget_audit`."""
        ...

    def delete_expired_results(self, now: datetime, limit: int) -> bool:
        """`ResultStorage.delete_expired_results`."""
        ...


@runtime_checkable
class PartitionedDatabase(Protocol):
    """A database that may have partitions."""

    def drop_partitions(self, now: datetime) -> int:
        """`PartitionedStorage.drop_partitions`."""
        ...

    def move_ended(self, now: datetime, limit: int) -> bool:
        """`PartitionedStorage.move_ended`."""
        ...
