"""A `TaskQuery`'s conditions in PostgreSQL's words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

from fullresult.storage import TaskQuery
from fullresult_storage_sql import globs, queries
from fullresult_storage_sql.database import Condition, Path
from fullresult_storage_sql.postgresql_statements import SQL


class Conditions:
    """The methods of `Database` that make conditions."""

    placeholder = "%s"
    sql = SQL

    def json_index(self, query: TaskQuery) -> Literal["unordered"] | None:
        return "unordered" if query.kwargs or query.places else None

    def name_like(self, pattern: str) -> Condition:
        return "t.name ~ %s", [globs.as_regex(pattern)]

    def contains(self, column: str, value: Any) -> Iterator[Condition]:
        yield f"{column} @> %s::jsonb", [json.dumps(value)]
        yield self.sql["small_or_large"], []
        # A list in the filter means the whole list; @> would take any that has its items.
        for path, leaf in queries.leaves(value):
            if isinstance(leaf, list):
                yield self._exactly(column, path, leaf)

    def item_is(self, column: str, path: Path, value: Any) -> Iterator[Condition]:
        yield f"{column} @> %s::jsonb", [json.dumps([value])]
        yield self.sql["small_or_large"], []
        for inner, leaf in queries.leaves(value):
            yield self._exactly(column, (*path, *inner), leaf)

    def _exactly(self, column: str, path: Path, value: Any) -> Condition:
        steps = [str(step) for step in path]
        if value == {}:
            return f"jsonb_typeof({column} #> %s) = 'object'", [steps]
        return f"{column} #> %s = %s::jsonb", [steps, json.dumps(value)]

    def any_of(self, column: str, values: list[str]) -> Condition:
        if len(values) == 1:
            return f"{column} = %s", [values[0]]
        return f"{column} = ANY(%s)", [values]

    def in_sections(self, sections: list[str]) -> Condition:
        return self.any_of("t.bucket", sections)

    def none_of(self, column: str, values: list[str]) -> Condition:
        return f"{column} <> ALL(%s)", [values]

    def has_text(self, columns: tuple[str, ...], text: str) -> Condition:
        pattern = queries.like(text)
        # In the collation C, ILIKE ignores the case of ASCII letters alone, as SQLite's LIKE does.
        sql = " OR ".join(f'{column} COLLATE "C" ILIKE %s' for column in columns)
        return sql, [pattern] * len(columns)
