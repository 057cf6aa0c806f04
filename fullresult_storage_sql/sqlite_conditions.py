"""A `TaskQuery`'s conditions in SQLite's words."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from fullresult.storage import OPEN, TaskQuery
from fullresult_storage_sql import globs, queries, statements
from fullresult_storage_sql.database import Condition, Path

SQL = statements.read("sqlite.sql")


class Conditions:
    """The methods of `Database` that make conditions."""

    placeholder = "?"
    sql = SQL
    _index_kwargs: Sequence[str] = ()

    def json_index(self, query: TaskQuery) -> Literal["in order"] | None:
        indexed = not set(query.kwargs or ()).isdisjoint(self._index_kwargs)
        return "in order" if indexed else None

    def name_like(self, pattern: str) -> Condition:
        return "t.name GLOB ?", [globs.as_glob(pattern)]

    def contains(self, column: str, value: Any) -> Iterator[Condition]:
        return self.item_is(column, (), value)

    def item_is(self, column: str, path: Path, value: Any) -> Iterator[Condition]:
        for inner, leaf in queries.leaves(value):
            yield self._at(column, (*path, *inner), leaf)

    def _at(self, column: str, path: Path, value: Any) -> Condition:
        """A condition: the value at *path* in the JSON of *column* is *value*."""
        if not any(isinstance(step, str) and '"' in step for step in path):
            where = _literal(_json_path(path))
            return _is(f"json_type({column}, {where})", f"json_extract({column}, {where})", value)
        condition, values = _is("e.type", "e.value", value)
        sql = self.sql["json_at"].format(column=column, condition=condition)
        return sql, [_json_with(path), *values]

    def any_of(self, column: str, values: list[str]) -> Condition:
        return f"{column} IN ({', '.join('?' * len(values))})", list(values)

    def in_sections(self, sections: list[str]) -> Condition:
        # Word for word the predicates of the two indexes: one has OPEN, the other the rest.
        if sections == [OPEN]:
            return "t.open = 1", []
        others = [section for section in sections if section != OPEN]
        sql, values = self.any_of("t.bucket", others)
        found = f"t.bucket <> '{OPEN}' AND {sql}"
        return (found if others == sections else f"t.open = 1 OR ({found})"), values

    def none_of(self, column: str, values: list[str]) -> Condition:
        return f"{column} NOT IN ({', '.join('?' * len(values))})", list(values)

    def has_text(self, columns: tuple[str, ...], text: str) -> Condition:
        pattern = queries.like(text)
        sql = " OR ".join(f"{column} LIKE ? ESCAPE '\\'" for column in columns)
        return sql, [pattern] * len(columns)


def argument_index(key: str) -> str:
    """The name of the index of a keyword argument."""
    return f"fullresult_kwarg_{key}"


def index_sql(key: str) -> str:
    """The statement that indexes the keyword argument *key* (`fullresult_index_kwargs`)."""
    name = argument_index(key).replace('"', '""')
    where = _literal(_json_path((key,)))
    return (
        f'CREATE INDEX IF NOT EXISTS "{name}" ON fullresult_task '
        f"(json_extract(kwargs, {where}), date_created, task_id)"
    )


def _is(kind: str, found: str, value: Any) -> Condition:
    """A condition: the JSON value *found*, of the type *kind*, is *value*."""
    if value is None:
        return f"{kind} = 'null'", []
    if isinstance(value, bool):
        # The value as well as the type, which an index does not have.
        return f"{found} = ? AND {kind} = ?", [int(value), json.dumps(value)]
    if isinstance(value, dict):
        return f"{kind} = 'object'", []
    if isinstance(value, list):
        sql = SQL["json_list_is"].format(kind=kind, found=found)
        return sql, [json.dumps(value)] * 2
    if isinstance(value, str):
        return f"{found} = ? AND {kind} = 'text'", [value]
    return f"{found} = ? AND {kind} IN ('integer', 'real')", [_number(value)]


def _number(value: float) -> float:
    """*value* as SQLite reads it in JSON."""
    if -(2**63) <= value < 2**63:
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _json_with(path: Path) -> str:
    """JSON whose last and innermost value is at *path*."""
    value: Any = None
    for step in reversed(path):
        value = {step: value} if isinstance(step, str) else [None] * step + [value]
    return json.dumps(value)


def _json_path(path: Path) -> str:
    steps = (f"[{s}]" if isinstance(s, int) else "." + json.dumps(s) for s in path)
    return "$" + "".join(steps)


def _literal(text: str) -> str:
    """SQL text: an index on an expression is found by the same expression, not by a parameter."""
    return "'" + text.replace("'", "''") + "'"
