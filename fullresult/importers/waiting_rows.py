"""The rows of django-celery-fulldbresult that wait, and the marks on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from fullresult.importers.fulldbresult import NOT_CLAIMED, TAKEN, TAKING, FullDbResult, mark_of
from fullresult.importers.source import Column

_PAGE = 100
_TO_TAKE = """
SELECT * FROM {table} WHERE status = 'SCHEDULED'
AND (scheduled_id IS NULL OR scheduled_id = :taking) AND id > :after ORDER BY id LIMIT :page
"""
_MARK_ALL = """
UPDATE {table} SET scheduled_id = :taking WHERE status = 'SCHEDULED' AND scheduled_id IS NULL
"""
_MARKED = """
SELECT * FROM {table} WHERE status = 'SCHEDULED' AND scheduled_id = :taking AND id > :after
ORDER BY id LIMIT :page
"""
_CLAIMED = """
SELECT * FROM {table} WHERE status = 'SCHEDULED' AND scheduled_id IS NOT NULL AND id > :after
ORDER BY id LIMIT :page
"""
_TAKEN = "UPDATE {table} SET scheduled_id = :taken WHERE id = :id"
_GIVEN_BACK = "UPDATE {table} SET scheduled_id = NULL WHERE id = :id"


class WaitingRows:
    """The rows in state SCHEDULED of one table. Each change is for good when it returns."""

    def __init__(self, source: FullDbResult) -> None:
        self._source = source
        self.alone = source.database.alone
        """A context in which no other import changes the marks."""
        as_uuid = source.columns["scheduled_id"] == "uuid"
        self._taking: Any = UUID(TAKING) if as_uuid else TAKING
        self._taken: Any = UUID(TAKEN) if as_uuid else TAKEN

    def to_take(self) -> Iterator[Column]:
        """The rows that `mark_all` would mark, and those that it did in an earlier import."""
        return self._walk(_TO_TAKE, taking=self._taking)

    def mark_all(self) -> None:
        """Have the original's sweeper pass what it has not claimed."""
        self._source.database.change(self._sql(_MARK_ALL), {"taking": self._taking})

    def marked(self) -> Iterator[Column]:
        """The rows that `mark_all` marked, in this or in an earlier import."""
        return self._walk(_MARKED, taking=self._taking)

    def claimed(self) -> Iterator[Column]:
        """The rows that the original has claimed."""
        return (row for row in self._walk(_CLAIMED) if mark_of(row) not in NOT_CLAIMED)

    def note_taken(self, row: Column) -> None:
        values = {"taken": self._taken, "id": row["id"]}
        self._source.database.change(self._sql(_TAKEN), values)

    def give_back(self, row: Column) -> None:
        """Leave *row* to the original's sweeper, and to the next import."""
        self._source.database.change(self._sql(_GIVEN_BACK), {"id": row["id"]})

    def _walk(self, statement: str, **values: Any) -> Iterator[Column]:
        sql, after = self._sql(statement), 0
        while found := self._source.database.ask(sql, {**values, "after": after, "page": _PAGE}):
            after = found[-1]["id"]
            yield from found

    def _sql(self, statement: str) -> str:
        return statement.format(table=self._source.table)
