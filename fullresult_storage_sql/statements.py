"""Named SQL statements, kept as SQL in files: a `-- name` line, then the statement."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from fullresult_storage_sql import rows
from fullresult_storage_sql.rows import Kind


class Rule(NamedTuple):
    """The comparison by which a new stamp wins, and what stands for an old one that is missing."""

    sign: str
    unknown: str


LATEST, FIRST = Rule(">", ""), Rule("<", "~")
_COMMENT = re.compile(r"^ *--.*\n", re.MULTILINE)
_CREATE_TABLE = re.compile(r"^CREATE TABLE (\w+)", re.MULTILINE)
_CREATE_INDEX = re.compile(r"^CREATE INDEX (\w+) ON (\w+)[^;]*;\n?", re.MULTILINE)
_DROP_INDEX = re.compile(r"^DROP INDEX (?:IF EXISTS )?(\w+);", re.MULTILINE)
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


def pending(dialect: str, version: int) -> tuple[tuple[int, str], ...]:
    """The migrations that a schema of *version* lacks."""
    return tuple(each for each in migrations(dialect) if each[0] > version)


class Index(NamedTuple):
    name: str
    table: str
    create: str


def new_indexes(sql: str) -> list[Index]:
    """The indexes that the migration *sql* makes on tables it does not make: they take long."""
    own = set(_CREATE_TABLE.findall(sql))
    found = [Index(each[1], each[2], each[0].strip()) for each in _CREATE_INDEX.finditer(sql)]
    return [index for index in found if index.table not in own]


def late_indexes(dialect: str) -> list[Index]:
    """The `new_indexes` of all migrations, without those that a later one drops."""
    found: dict[str, Index] = {}
    for _, sql in migrations(dialect):
        for name in _DROP_INDEX.findall(sql):
            found.pop(name, None)
        found |= {index.name: index for index in new_indexes(sql)}
    return [*found.values()]


def newest(dialect: str) -> int:
    """The version that the last migration makes."""
    return migrations(dialect)[-1][0]


def write(sql: Mapping[str, str], kind: Kind, values: str) -> str:
    """The statement that merges events of *kind*; *values* is `VALUES (…)` or a SELECT."""
    return sql["write"].format_map(
        {
            "columns": ", ".join(rows.columns(kind)),
            "values": values,
            ", latest outcome": merged(rows.OUTCOME, LATEST),
            ", first message": merged(rows.MESSAGE, FIRST) if kind.message else "",
            ", first start": merged(rows.START, FIRST),
            ", latest stored": merged(rows.STORED, LATEST) if kind.stored else "",
            ", resent": _resent(kind),
            ", again": f", {sql['again']}" if kind.message else "",
            ", latest own": merged(rows.OWN, LATEST) if kind.own else "",
        }
    )


def _resent(kind: Kind) -> str:
    """`, resent = …`: the greater mark, unless the outcome of either is greater still."""
    later = "excluded.resent > COALESCE(t.resent, '')"
    known = f"CASE WHEN {later} THEN excluded.resent ELSE t.resent END"
    mark = known if kind.resent else "t.resent"
    stamps = (f"COALESCE({each}.outcome_stamp, '')" for each in ("t", "excluded"))
    holds = " AND ".join(f"{mark} > {stamp}" for stamp in stamps)
    return f", resent = CASE WHEN {holds} THEN {mark} END"


def one(kind: Kind, placeholder: str) -> str:
    """The values of `write` for one event of *kind*."""
    return f"VALUES ({', '.join([placeholder] * len(rows.columns(kind)))})"


def merged(
    columns: Sequence[str], rule: Rule, *, new: str = "excluded.{}", old: str = "t.{}"
) -> str:
    """`, column = …` for each of *columns*: the new values if the first, a stamp, wins."""
    stamp = columns[0]
    wins = f"{new.format(stamp)} {rule.sign} COALESCE({old.format(stamp)}, '{rule.unknown}')"
    return "".join(
        f", {name} = CASE WHEN {wins} THEN {new.format(name)} ELSE {old.format(name)} END"
        for name in columns
    )


def ended(sql: Mapping[str, str]) -> dict[bool, str]:
    """The statement for results of tasks that have ended, by whether it has whole messages."""
    named = {True: "get_results", False: "get_results_only"}
    return {whole: f"{sql[name]} AND {sql['only_ended']}" for whole, name in named.items()}


def numbered(sql: str) -> str:
    """*sql* with its `%s` as PostgreSQL's own placeholders: `$1`, `$2` and so on."""
    first, *rest = sql.split("%s")
    return first + "".join(f"${number}{text}" for number, text in enumerate(rest, 1))
