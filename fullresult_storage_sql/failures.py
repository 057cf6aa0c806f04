"""Groups of failures, and decisions about them, in any SQL database."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from fullresult.record import Decision, FailureGroup, FailureQuery, encoding
from fullresult.storage import Grouped
from fullresult_storage_sql import rows
from fullresult_storage_sql.prepared import Prepared

LOOKED = 10_000
"""Groups that are looked at, in the order of their fingerprints."""
_DECISION_FROM = FailureGroup._fields.index("decision")


class SqlFailures(Prepared):
    """A `fullresult.storage.FailureStorage`."""

    def find_failures(self, query: FailureQuery) -> list[FailureGroup]:
        database = self._prepared()
        mark, one, since = database.placeholder, query.fingerprint, query.since
        parts = {
            "one": f" AND t.fingerprint = {mark}" if one is not None else "",
            "since_last": f" AND last.date_done >= {mark}" if since is not None else "",
            "since": f" AND t.date_done >= {mark}" if since is not None else "",
        }
        numbers = {"looked": LOOKED, "limit": max(query.limit, 0), "most": max(query.most, 0)}
        sql = database.sql["find_failures"].format(**parts, **numbers)
        ones = [] if one is None else [encoding.key(one)] * 2
        sinces = [] if since is None else [rows.date_text(since)] * 2
        return [_group(row) for row in database.ask(sql, [*ones, *sinces])]

    def keep_decision(self, decision: Decision) -> None:
        database = self._prepared()
        database.keep(database.sql["keep_decision"], rows.texts(decision))

    def find_decisions(self, fingerprints: Collection[str] | None = None) -> list[Decision]:
        database = self._prepared()
        if fingerprints is None:
            found = database.ask(database.sql["find_all_decisions"], [])
        else:
            found = database.ask(database.sql["find_decisions"], [database.many(fingerprints)])
        return [_decision(row) for row in found]

    def set_fingerprints(self, grouped: Sequence[Grouped]) -> int:
        database = self._prepared()
        return len(database.keep(database.sql["set_fingerprints"], [json.dumps(grouped)]))


def _group(row: Sequence[Any]) -> FailureGroup:
    fingerprint, first, last, *known = row[:_DECISION_FROM]
    decided = row[_DECISION_FROM:]
    decision = None if decided[0] is None else _decision([fingerprint, *decided])
    dates = rows.known_date(first), rows.known_date(last)
    return FailureGroup._make((fingerprint, *dates, *known, decision))


def _decision(row: Sequence[Any]) -> Decision:
    fingerprint, status, decided, until, *rest = row
    when = None if until is None else rows.known_date(until)
    return Decision(fingerprint, status, rows.known_date(decided), when, *rest)
