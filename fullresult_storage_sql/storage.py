"""The storage over any SQL database."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any

from fullresult.record import TaskRecord, cut, pages
from fullresult.storage import (
    Reached,
    StorageError,
    TaskQuery,
    Walked,
    find_in_parts,
    is_behind_others,
    is_indexed,
)
from fullresult_storage_sql import globs, queries, rows
from fullresult_storage_sql.audit import SqlAudit
from fullresult_storage_sql.database import PartitionedDatabase
from fullresult_storage_sql.failures import SqlFailures
from fullresult_storage_sql.outbox import SqlOutbox
from fullresult_storage_sql.pauses import SqlPauses
from fullresult_storage_sql.replays import SqlReplays
from fullresult_storage_sql.results import SqlResults
from fullresult_storage_sql.schedules import SqlSchedules
from fullresult_storage_sql.shapes import SqlShapes
from fullresult_storage_sql.sqlite_conditions import argument_index
from fullresult_storage_sql.statistics import SqlStatistics
from fullresult_storage_sql.workers import SqlWorkers

logger = logging.getLogger(__name__)


class SqlStorage(
    SqlSchedules,
    SqlReplays,
    SqlOutbox,
    SqlResults,
    SqlWorkers,
    SqlPauses,
    SqlStatistics,
    SqlShapes,
    SqlFailures,
    SqlAudit,
):
    """A `fullresult.storage.Storage`, with all that is optional, over a `Database`."""

    def __repr__(self) -> str:
        return f"<SqlStorage {self._database!r}>"

    def missing_file(self) -> str | None:
        """`fullresult.storage.FileStorage`."""
        return self._database.missing_file()

    def has_replicas(self) -> bool:
        """`fullresult.storage.ReplicatedStorage`."""
        return self._database.dialect == "postgresql"

    def reached(self) -> Reached:
        return self._prepared().reached()

    def now(self) -> datetime:
        value = self._database.ask(self._database.sql["now"], ())[0][0]
        when = datetime.fromisoformat(value) if isinstance(value, str) else value
        return cut(when.astimezone(timezone.utc))

    def write(self, events: Sequence[TaskRecord]) -> list[str]:
        database = self._prepared()
        lacking = database.write(events)
        for event in events:
            if event.entries and rows.may_have_many_entries(event):
                self._prune(event.task_id)
        return lacking

    def _prune(self, task_id: str) -> None:
        """Delete old entries of a task that is retried without end; the next time if it fails."""
        database = self._database
        try:
            database.keep(database.sql["prune_entries"], [task_id, task_id])
        except StorageError as error:
            logger.warning("fullresult: old executions of task %s are kept: %s", task_id, error)

    def begin_write(self, event: TaskRecord) -> Callable[[], list[str]]:
        return self._prepared().begin_write(event)

    def get(self, task_id: str) -> TaskRecord | None:
        database = self._prepared()
        where = f"{database.sql['select']} WHERE t.task_id = {database.placeholder}"
        return next(iter(rows.whole(self._records(where, [task_id]))), None)

    def find(self, query: TaskQuery) -> list[TaskRecord]:
        if query.limit is not None and is_behind_others(query):
            return find_in_parts(self, query, query.limit)
        database = self._prepared()
        page, values = queries.select(database, query)
        return self._records(f"{database.sql['select']}{page}", values)

    def walk(self, query: TaskQuery, looked: int) -> Walked:
        """`fullresult.storage.WalkingStorage`."""
        database = self._prepared()
        found = database.ask(*queries.edge(database, query, max(looked, 1)))
        edge = (rows.known_date(found[0][0]), found[0][1]) if found else None
        last = (rows.date_text(edge[0]), edge[1]) if edge else None
        page, values = queries.up_to(database, query, last)
        records = self._records(f"{database.sql['select']}{page}", values)
        if records and len(records) == query.limit:
            return Walked(records, records[-1].cursor)
        return Walked(records, pages.cursor(*edge) if edge else None)

    def ids_beginning(self, beginning: str, most: int) -> list[str]:
        """`fullresult.storage.PrefixStorage`."""
        database = self._prepared()
        values = [beginning, beginning + globs.LAST, most]
        return [row[0] for row in database.ask(database.sql["ids_beginning"], values)]

    def has_index(self, query: TaskQuery) -> bool:
        """`fullresult.storage.IndexedStorage`."""
        database = self._prepared()
        how = database.json_index(query)
        if how == "in order":  # one that `fullresult_index_kwargs` names, if it was made
            wanted = [argument_index(key) for key in query.kwargs or ()]
            made = any(database.ask(database.sql["has_index"], [name]) for name in wanted)
            return is_indexed(query, json=made)
        return is_indexed(query, json=how is not None)

    def count(self, query: TaskQuery) -> int:
        database = self._prepared()
        where, values = queries.count(database, query)
        return int(database.ask(f"{database.sql['count']}{where}", values)[0][0])

    def delete(self, query: TaskQuery) -> int:
        database = self._prepared()
        page, values = queries.select(database, query)
        return database.delete(f"{database.sql['ids']}{page}", values)

    def delete_expired(self, now: datetime, limit: int) -> int:
        return self._prepared().delete_expired(now, limit)

    def drop_partitions(self, now: datetime) -> int:
        """`fullresult.storage.PartitionedStorage`."""
        database = self._prepared()
        return database.drop_partitions(now) if isinstance(database, PartitionedDatabase) else 0

    def move_ended(self, now: datetime, limit: int) -> bool:
        database = self._prepared()
        return isinstance(database, PartitionedDatabase) and database.move_ended(now, limit)

    def _records(self, sql: str, values: Sequence[Any]) -> list[TaskRecord]:
        return [rows.record(row[:-1], row[-1]) for row in self._database.ask(sql, values)]
