"""Schedules in any SQL database."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from operator import attrgetter
from typing import Any

from fullresult.record import Schedule, ScheduleQuery, TaskRecord
from fullresult_storage_sql import queries, rows
from fullresult_storage_sql.database import Condition, Database
from fullresult_storage_sql.prepared import Prepared


class SqlSchedules(Prepared):
    """The methods of `fullresult.storage.Storage` that are about schedules."""

    def schedule(self, schedule: Schedule, event: TaskRecord) -> None:
        self._prepared().schedule(schedule, event)

    def withdraw(self, schedule_id: str) -> None:
        database = self._prepared()
        database.change(database.sql["withdraw"], [schedule_id])
        database.change(database.sql["forget_withdrawn"], [])

    def claim_due(self, namespace: str, now: datetime, claim: str, limit: int) -> list[Schedule]:
        found = self._prepared().claim_due(namespace, now, claim, limit)
        return sorted(map(rows.schedule, found), key=attrgetter("due", "schedule_id"))

    def mark_sent(
        self, claim: str, schedule_ids: Collection[str], events: Sequence[TaskRecord]
    ) -> list[str]:
        return self._prepared().mark_sent(claim, schedule_ids, events)

    def mark_problem(self, claim: str, schedule_id: str, problem: str) -> None:
        database = self._prepared()
        database.change(database.sql["mark_problem"], [problem, claim, schedule_id])

    def release(self, schedule_ids: Collection[str], claim: str | None = None) -> list[str]:
        database = self._prepared()
        values = [database.many(schedule_ids), claim]
        return [row[0] for row in database.change(database.sql["release"], values)]

    def take_over(
        self, schedule_id: str, claim: str, now: datetime, *, instead_of: str | None
    ) -> Schedule | None:
        database = self._prepared()
        values = [claim, rows.date_text(now), schedule_id, instead_of]
        found = database.change(database.sql["take_over"], values)
        return rows.schedule(found[0]) if found else None

    def cancel(self, schedule_id: str, event: TaskRecord) -> bool:
        database = self._prepared()
        return bool(database.change(database.sql["cancel"], [schedule_id], event))

    def reschedule(
        self,
        schedule_id: str,
        due: datetime,
        event: TaskRecord,
        *,
        instead_of: datetime | None = None,
    ) -> bool:
        database = self._prepared()
        before = None if instead_of is None else rows.date_text(instead_of)
        values = [rows.date_text(due), schedule_id, before]
        return bool(database.change(database.sql["reschedule"], values, event))

    def next_due(self, namespace: str) -> datetime | None:
        found = self._prepared().next_due(namespace)
        return rows.known_date(found[0][0]) if found else None

    def find_schedules(self, query: ScheduleQuery) -> list[Schedule]:
        database = self._prepared()
        return [rows.schedule(row) for row in database.ask(*select(database, query))]

    def count_schedules(self, query: ScheduleQuery) -> int:
        database = self._prepared()
        where, values = _where(database, replace(query, after=None))
        return int(database.ask(f"{database.sql['count_schedules']}{where}", values)[0][0])

    def note_sweep(self, namespace: str, at: datetime) -> None:
        database = self._prepared()
        database.ask(database.sql["note_sweep"], [namespace, rows.date_text(at)])

    def last_sweep(self, namespace: str) -> datetime | None:
        database = self._prepared()
        found = database.ask(database.sql["last_sweep"], [namespace])
        return rows.known_date(found[0][0]) if found else None


_WAITING = "s.claim IS NULL AND s.date_withdrawn IS NULL"
_CLAIMED = "s.claim IS NOT NULL"
_KEPT = {False: (_WAITING,), True: (_CLAIMED,), None: (_WAITING, _CLAIMED)}
"""Word for word the predicates of the indexes, so that PostgreSQL sees that they serve."""


def select(database: Database, query: ScheduleQuery) -> Condition:
    """The statement that answers the page *query* asks for, and its values."""
    page = database.sql.get("page_of_schedules")
    if page and not query.claimed and query.limit is not None and not _names_any(query):
        waiting, values = _where(database, replace(query, claimed=False))
        # Compared once for each namespace, not for each of its schedules.
        waiting = waiting.replace("s.namespace", "known.namespace")
        claimed, others = " WHERE false", list[Any]()
        if query.claimed is None:
            claimed, others = _where(database, replace(query, claimed=True))
        sql = page.format(waiting=waiting, claimed=claimed, limit=query.limit)
        return sql, [*values, *others]
    where, values = _where(database, query)
    limit = "" if query.limit is None else f" LIMIT {query.limit:d}"
    return f"{database.sql['schedules']}{where} ORDER BY s.due, s.schedule_id{limit}", values


def _names_any(query: ScheduleQuery) -> bool:
    """True if *query* names ids, all of which an index has."""
    return query.task_ids is not None or query.schedule_ids is not None


def _where(database: Database, query: ScheduleQuery) -> Condition:
    found = list(_conditions(database, query))
    sql = " AND ".join(f"({condition})" for condition, _ in found)
    return f" WHERE {sql}", [value for _, values in found for value in values]


def _conditions(database: Database, query: ScheduleQuery) -> Iterator[Condition]:
    mark, any_of_many = database.placeholder, database.sql["any_of_many"]
    yield _kept(database, query)
    if query.schedule_ids is not None:
        yield any_of_many.format(column="s.schedule_id"), [database.many(query.schedule_ids)]
    if query.namespace is not None:
        yield f"s.namespace = {mark}", [query.namespace]
    if query.not_namespace is not None:
        yield f"s.namespace <> {mark}", [query.not_namespace]
    if query.outbox is not None:
        yield f"s.at_least_once IS {'NOT ' if query.outbox else ''}NULL", []
    if query.due_until is not None:
        yield f"s.due <= {mark}", [rows.date_text(query.due_until)]
    if (position := query.position) is not None:
        due, schedule_id = position
        yield f"(s.due, s.schedule_id) > ({mark}, {mark})", [rows.date_text(due), schedule_id]
    yield from _task_conditions(database, query)


def _kept(database: Database, query: ScheduleQuery) -> Condition:
    parts = _KEPT[query.claimed]
    if query.task_ids is None:
        return " OR ".join(f"({part})" for part in parts), []
    # Repeated in each part, because each has its own index.
    of_tasks = database.sql["any_of_many"].format(column="s.task_id")
    values = [database.many(query.task_ids)] * len(parts)
    return " OR ".join(f"({part} AND {of_tasks})" for part in parts), values


def _task_conditions(database: Database, query: ScheduleQuery) -> Iterator[Condition]:
    if query.tasks is None:
        return
    where, values = queries.count(database, query.tasks)
    if where:
        yield database.sql["of_tasks"].format(where=where), values
