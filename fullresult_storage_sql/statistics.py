"""The fields that statistics are made of, in any SQL database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from fullresult.record import Sample, ScheduleQuery
from fullresult.storage import Alike, Tally, TaskQuery
from fullresult_storage_sql import queries, rows, schedules
from fullresult_storage_sql.database import Database
from fullresult_storage_sql.prepared import Prepared


class SqlStatistics(Prepared):
    """A `fullresult.storage.StatisticsStorage`."""

    def sample(self, edges: Sequence[datetime], most: int) -> list[list[Sample]]:
        database = self._prepared()
        return [_sample(database, *span, most) for span in pairwise(edges)]

    def count_alike(self, since: datetime, until: datetime, most: int) -> list[Alike]:
        database = self._prepared()
        values = [rows.date_text(since), rows.date_text(until), max(most, 0)]
        found = database.ask(database.sql["count_alike"], values)
        return [
            Alike(name, state, bool(published), bool(started), bool(retried), number)
            for name, state, published, started, retried, number in found
        ]

    def count_capped(self, query: TaskQuery | ScheduleQuery, most: int) -> int:
        database = self._prepared()
        if isinstance(query, ScheduleQuery):
            page = replace(query, limit=max(most, 0), after=None)
            found, values = schedules.select(database, page)
        else:
            where, values = queries.count(database, query)
            found = f"{database.sql['ids']}{where} LIMIT {max(most, 0):d}"
        counted = database.sql["count_found"].format(found=found)
        return int(database.ask(counted, values)[0][0])

    def tally(self, query: TaskQuery, looked: int) -> Tally:
        """`fullresult.storage.WalkingStorage`."""
        database, most = self._prepared(), max(looked, 0)
        found = database.ask(*queries.tally(database, query, most))
        by_state = {state: matching for state, matching, _ in found if matching and state}
        return Tally(by_state, is_all=sum(row[2] for row in found) < most)


def _sample(database: Database, since: datetime, until: datetime, most: int) -> list[Sample]:
    values: list[Any] = [rows.date_text(since), rows.date_text(until), max(most, 0)]
    return [*map(rows.sample, database.ask(database.sql["sample"], values))]
