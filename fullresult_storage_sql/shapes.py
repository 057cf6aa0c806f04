"""Shapes of messages, in any SQL database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fullresult.record import Shape, TaskRecord, cursor_of
from fullresult.storage import ShapePage, TaskQuery
from fullresult_storage_sql import queries, rows
from fullresult_storage_sql.prepared import Prepared


class SqlShapes(Prepared):
    """A `fullresult.storage.ShapeStorage`."""

    def shapes(self, query: TaskQuery) -> ShapePage:
        database = self._prepared()
        page, values = queries.select(database, query)
        found = database.ask(database.sql["shapes"].format(page=page), values)
        if not found:
            return ShapePage((), False, None)
        last = cursor_of(rows.known_date(found[0][-2]), found[0][-1])
        counted = tuple(_shape(row) for row in found if not row[0])
        return ShapePage(counted, any(row[0] for row in found), last)

    def find_apart(self, query: TaskQuery) -> list[TaskRecord]:
        database = self._prepared()
        where, values = queries.conditions(database, query)
        apart = f"{where} AND " if where else " WHERE "
        order = queries.select(database, TaskQuery(limit=query.limit, order=query.order))[0]
        sql = f"{database.sql['select']}{apart}({database.sql['apart']}){order}"
        found = database.ask(sql, values)
        return [rows.record(row[:-1], row[-1]) for row in found]


def _shape(row: Sequence[Any]) -> Shape:
    _, *known, positional, keywords, number, example, newest, due = row[:-2]
    names = None if keywords is None else tuple(json.loads(keywords))
    first = None if due is None else rows.known_date(due)
    name, queue, content_type, compression = known
    return Shape(
        name, queue, content_type, compression, positional, names,
        number, example, rows.known_date(newest), first,
    )  # fmt: skip
