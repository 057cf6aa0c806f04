"""Named SQL statements, kept as SQL in files: a `-- name` line, then the statement."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

_COMMENT = re.compile(r"^ *--.*\n", re.MULTILINE)
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


def read(file: str) -> dict[str, str]:
    """The statements of *file*, by name."""
    text = (files("fullresult_storage_sql") / file).read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    named = zip(parts[::2], parts[1::2], strict=True)
    return {name: _COMMENT.sub("", sql).strip().rstrip(";") for name, sql in named}


@cache
def migrations(dialect: str) -> tuple[tuple[int, str], ...]:
    """Every migration of *dialect* in order, as (version, SQL)."""
    folder = files("fullresult_storage_sql") / "migrations" / dialect
    found = [
        (int(file.name.split("_")[0]), file.read_text(encoding="utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    ]
    return tuple(sorted(found))


def newest(dialect: str) -> int:
    """The version that the last migration makes."""
    return migrations(dialect)[-1][0]


def write(sql: Mapping[str, str], *, message: bool, stored: bool) -> str:
    """The statement for an event that has a message or not, and what a backend was given or not."""
    parts = ("stored_columns", "stored_values", "stored_set")
    statement = sql["write" if message else "write_outcome"]
    return statement.format_map({part: sql[part] if stored else "" for part in parts})


def ended(sql: Mapping[str, str]) -> dict[bool, str]:
    """The statement for results that are there, by whether it has whole messages."""
    named = {True: "get_results", False: "get_results_only"}
    return {whole: f"{sql[name]} AND {sql['ended']}" for whole, name in named.items()}


def numbered(sql: str) -> str:
    """*sql* with its `%s` as PostgreSQL's own placeholders: `$1`, `$2` and so on."""
    first, *rest = sql.split("%s")
    return first + "".join(f"${number}{text}" for number, text in enumerate(rest, 1))
