"""What a result backend keeps and asks, in any SQL database."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from uuid import uuid4

from fullresult.record import Stored, TaskRecord
from fullresult_storage_sql import rows


class Joining(NamedTuple):
    """A member that joins a chord."""

    chord_id: str
    member: str
    size: int
    expires: str | None
    call: str


class ResultDatabase(Protocol):
    """What a database does for a result backend, on a schema known to be there.

    Every method raises `StorageError` and nothing else, and what it changes is as safe as the end
    of a task.
    """

    sql: dict[str, str]

    def get_results(self, task_ids: Collection[str]) -> Sequence[Sequence[Any]]:
        """`ResultStorage.get_results`, as rows of `rows.COLUMNS`."""
        ...

    def get_ended(self, task_ids: Collection[str], *, messages: bool) -> Sequence[Sequence[Any]]:
        """`ResultStorage.get_ended`, as rows of `rows.COLUMNS`."""
        ...

    def get_successes(self, task_ids: Collection[str]) -> list[Sequence[Any]]:
        """`JoiningStorage.get_successes`: rows of an id, a text, and the fields of a `Stored`."""
        ...

    @property
    def placeholder(self) -> str:
        """What stands for a value in a statement."""
        ...

    def delete(self, found: str, values: Sequence[Any]) -> int:
        """Delete the records whose ids the statement *found* selects, and their entries."""
        ...

    def keep(self, sql: str, values: Sequence[Any]) -> list[Sequence[Any]]:
        """Run one statement that may be run twice, by itself, and return its rows."""
        ...

    def join_chord(self, joining: Joining) -> bool:
        """`ResultStorage.join_chord`."""
        ...

    def write_and_join(self, event: TaskRecord, joining: Joining) -> tuple[list[str], bool]:
        """`JoiningStorage.write_and_join`, in one transaction."""
        ...

    def forget_chord(self, chord_id: str) -> None:
        """`ResultStorage.forget_chord`."""
        ...


class SqlResults:
    """A `fullresult.storage.ResultStorage` and `JoiningStorage`."""

    @abstractmethod
    def _prepared(self) -> ResultDatabase:
        """The database, its schema known to be there."""

    def get_results(self, task_ids: Collection[str]) -> list[TaskRecord]:
        return [rows.record(row) for row in self._prepared().get_results(task_ids)]

    def get_ended(self, task_ids: Collection[str], *, messages: bool = True) -> list[TaskRecord]:
        found = self._prepared().get_ended(task_ids, messages=messages)
        return [rows.record(row) for row in found]

    def get_successes(self, task_ids: Collection[str]) -> dict[str, Stored | str]:
        found = self._prepared().get_successes(task_ids)
        return {
            task_id: Stored._make(stored) if result is None else result
            for task_id, result, *stored in found
        }

    def forget(self, task_id: str) -> None:
        database = self._prepared()
        where = f"{database.sql['ids']} WHERE t.task_id = {database.placeholder}"
        database.delete(where, [task_id])

    def save_group(self, group_id: str, value: bytes, expire_at: datetime | None) -> None:
        expires = None if expire_at is None else rows.date_text(expire_at)
        database = self._prepared()
        database.keep(database.sql["save_group"], [group_id, value, expires])

    def restore_group(self, group_id: str) -> bytes | None:
        database = self._prepared()
        found = database.keep(database.sql["restore_group"], [group_id])
        return bytes(found[0][0]) if found else None

    def delete_group(self, group_id: str) -> None:
        database = self._prepared()
        database.keep(database.sql["delete_group"], [group_id])

    def join_chord(
        self,
        chord_id: str,
        member: str,
        size: int,
        expire_at: datetime | None,
        *,
        call: str | None = None,
    ) -> bool:
        known = _joining(chord_id, member, size, expire_at, call)
        return self._prepared().join_chord(known)

    def write_and_join(
        self,
        event: TaskRecord,
        chord_id: str,
        size: int,
        expire_at: datetime | None,
        *,
        call: str | None = None,
    ) -> tuple[list[str], bool]:
        known = _joining(chord_id, event.task_id, size, expire_at, call)
        return self._prepared().write_and_join(event, known)

    def forget_chord(self, chord_id: str) -> None:
        self._prepared().forget_chord(chord_id)


def _joining(
    chord_id: str, member: str, size: int, expire_at: datetime | None, call: str | None
) -> Joining:
    expires = None if expire_at is None else rows.date_text(expire_at)
    return Joining(chord_id, member, size, expires, call or uuid4().hex)
