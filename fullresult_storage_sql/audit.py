"""The audit log in any SQL database."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from fullresult.record import AuditEntry, AuditQuery
from fullresult_storage_sql import rows
from fullresult_storage_sql.database import Condition, Database
from fullresult_storage_sql.prepared import Prepared

_EQUAL = ("actor", "action")


class SqlAudit(Prepared):
    """A `fullresult.storage.AuditStorage`."""

    def keep_audit(self, entry: AuditEntry) -> None:
        database = self._prepared()
        values = [
            entry.entry_id,
            rows.date_text(entry.at),
            entry.actor,
            entry.action,
            json.dumps(entry.task_ids),
            json.dumps(dict(entry.details)),
            entry.outcome,
        ]
        database.change(database.sql["keep_audit"], values)

    def find_audit(self, query: AuditQuery) -> list[AuditEntry]:
        database = self._prepared()
        found = list(_conditions(database, query))
        where = " AND ".join(condition for condition, _ in found)
        values = [value for _, some in found for value in some]
        limit = "" if query.limit is None else f" LIMIT {query.limit:d}"
        page = f"{f' WHERE {where}' if where else ''} ORDER BY a.at DESC, a.entry_id DESC{limit}"
        return [*map(_entry, database.ask(f"{database.sql['audit']}{page}", values))]

    def forget_audit(self, until: datetime, limit: int) -> int:
        return self._prepared().forget_audit(rows.date_text(until), max(limit, 0))


def _conditions(database: Database, query: AuditQuery) -> Iterator[Condition]:
    mark = database.placeholder
    for name in _EQUAL:
        if (value := getattr(query, name)) is not None:
            yield f"a.{name} = {mark}", [value]
    if query.task_id is not None:
        yield database.sql["audit_of_task"], [query.task_id]
    if query.since is not None:
        yield f"a.at >= {mark}", [rows.date_text(query.since)]
    if query.until is not None:
        yield f"a.at < {mark}", [rows.date_text(query.until)]
    if (position := query.position) is not None:
        at, entry_id = position
        yield f"(a.at, a.entry_id) < ({mark}, {mark})", [rows.date_text(at), entry_id]


def _entry(row: Sequence[Any]) -> AuditEntry:
    entry_id, at, actor, action, task_ids, details, outcome = row
    return AuditEntry(
        entry_id,
        rows.known_date(at),
        actor,
        action,
        tuple(json.loads(task_ids)),
        json.loads(details),
        outcome,
    )
