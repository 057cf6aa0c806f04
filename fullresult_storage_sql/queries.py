"""A `TaskQuery` as SQL: conditions, order and their parameters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Protocol

from fullresult import encoding
from fullresult.record import FINISHED, SCHEDULED, SCHEDULED_SENT, SUCCESS
from fullresult.storage import TaskQuery
from fullresult_storage_sql.rows import date_text

Condition = tuple[str, list[Any]]
Path = tuple[str | int, ...]

_EQUAL = ("queue", "worker", "root_id", "group_id", "retry_of")


class Dialect(Protocol):
    """What the databases say differently."""

    placeholder: str

    def name_like(self, pattern: str) -> Condition:
        """`name` matches a glob."""
        ...

    def contains(self, column: str, value: Any) -> Iterator[Condition]:
        """The JSON in *column* has *value*, an object, in it."""
        ...

    def item_is(self, column: str, path: Path, value: Any) -> Iterator[Condition]:
        """The item at *path* of the JSON in *column* is *value*, or has it in it if an object."""
        ...

    def any_of(self, column: str, values: list[str]) -> Condition:
        """*column* is one of *values*."""
        ...

    def none_of(self, column: str, values: list[str]) -> Condition:
        """*column* is none of *values*."""
        ...

    def has_text(self, columns: tuple[str, ...], text: str) -> Condition:
        """One of *columns* contains *text*, in any case."""
        ...


def select(dialect: Dialect, query: TaskQuery) -> tuple[str, list[Any]]:
    """WHERE, ORDER BY and LIMIT of *query*, to follow a FROM fullresult_task AS t."""
    where, values = conditions(dialect, query)
    direction = "DESC" if query.order == "newest" else "ASC"
    sql = f"{where} ORDER BY t.date_created {direction}, t.task_id {direction}"
    if query.limit is not None:
        sql += f" LIMIT {query.limit:d}"
    return sql, values


def count(dialect: Dialect, query: TaskQuery) -> tuple[str, list[Any]]:
    """The WHERE of *query* without its page."""
    return conditions(dialect, replace(query, after=None))


def conditions(dialect: Dialect, query: TaskQuery) -> tuple[str, list[Any]]:
    found = list(_conditions(dialect, query))
    if not found:
        return "", []
    sql = " AND ".join(f"({condition})" for condition, _ in found)
    return f" WHERE {sql}", [value for _, values in found for value in values]


def _conditions(dialect: Dialect, query: TaskQuery) -> Iterator[Condition]:
    mark = dialect.placeholder
    yield from _state_conditions(dialect, query)
    if query.name is not None:
        yield (
            dialect.name_like(query.name)
            if query.name_is_glob
            else (
                f"t.name = {mark}",
                [query.name],
            )
        )
    for name in _EQUAL:
        if (value := getattr(query, name)) is not None:
            yield f"t.{name} = {mark}", [encoding.key(value)]
    yield from _date_conditions(mark, query)
    if query.text is not None:
        columns = ("t.name", "t.task_id", "t.exception_type", "t.exception_message")
        yield dialect.has_text(columns, query.text)
    if query.kwargs is not None:
        yield from dialect.contains("t.kwargs", _plain(query.kwargs))
    for index, value in enumerate(query.args or ()):
        yield from dialect.item_is("t.args", (index,), _plain(value))


def _state_conditions(dialect: Dialect, query: TaskQuery) -> Iterator[Condition]:
    if (states := query.states) is not None:
        yield dialect.any_of("t.state", sorted(states))
        if SUCCESS not in states and states:
            # Repeats what the generated column says, for its index.
            yield dialect.any_of("t.bucket", sorted(_buckets(states)))
    if query.not_state:
        yield dialect.none_of("t.state", sorted(query.not_state))
    if query.open is not None:
        yield ("t.bucket = 'OPEN'" if query.open else "t.bucket IS NULL OR t.bucket <> 'OPEN'"), []


def _buckets(states: tuple[str, ...]) -> set[str]:
    buckets = {state if state in FINISHED or state == SCHEDULED else "OPEN" for state in states}
    return buckets | {SCHEDULED_SENT} if SCHEDULED_SENT in states else buckets


def _date_conditions(mark: str, query: TaskQuery) -> Iterator[Condition]:
    if query.since is not None:
        yield f"t.date_created >= {mark}", [date_text(query.since)]
    if query.until is not None:
        yield f"t.date_created < {mark}", [date_text(query.until)]
    if query.moved_before is not None:
        when = date_text(query.moved_before)
        # Nothing moved before it was created: this bounds the index.
        yield f"t.date_created <= {mark} AND t.stale_from <= {mark}", [when, when]
    if (position := query.position) is not None:
        sign = "<" if query.order == "newest" else ">"
        date, task_id = position
        yield f"(t.date_created, t.task_id) {sign} ({mark}, {mark})", [date_text(date), task_id]


def _plain(value: Any) -> Any:
    """*value* as it stands in recorded JSON, with kombu's types as the objects kombu makes of them.

    Raises `ValueError` for what JSON cannot hold.
    """
    try:
        return json.loads(encoding.dumps_strict(value))
    except encoding.Unstorable as error:
        raise ValueError(f"cannot search for {encoding.safe_repr(value)[:100]}: {error}") from None


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The (path, value) of everything in nested objects that is no object itself."""
    if not isinstance(value, Mapping) or not value:
        yield path, value
        return
    for key, item in value.items():
        yield from leaves(item, (*path, key))


def glob_regex(pattern: str) -> str:
    """A glob as a POSIX regular expression for a whole name."""
    out, index = "", 0
    while index < len(pattern):
        character = pattern[index]
        end = pattern.find("]", index + 2) if character == "[" else -1
        if end > 0:
            inside = pattern[index + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            out += f"[^{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"
            index = end
        else:
            out += {"*": ".*", "?": "."}.get(character) or _literal(character)
        index += 1
    return f"^{out}$"


def _literal(character: str) -> str:
    return character if character.isalnum() or character in "_ " else f"\\{character}"


def like(text: str) -> str:
    """A LIKE pattern, with `\\` as its escape, for what contains *text*."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
