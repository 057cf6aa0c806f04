"""Shapes of messages, in any SQL database."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from fullresult.record import Shape, cursor_of
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
            return ShapePage((), (), None)
        last = cursor_of(rows.known_date(found[0][-2]), found[0][-1])
        counted = tuple(_shape(row) for row in found if row[0] is None)
        return ShapePage(counted, tuple(row[0] for row in found if row[0] is not None), last)


def _shape(row: Sequence[Any]) -> Shape:
    _, *known, positional, keywords, protocol, number, example, newest, due = row[:-2]
    names = None if keywords is None else tuple(json.loads(keywords))
    first = None if due is None else rows.known_date(due)
    name, queue, content_type, compression = known
    return Shape(
        name, queue, content_type, compression, positional, names, protocol,
        number, example, rows.known_date(newest), first,
    )  # fmt: skip
