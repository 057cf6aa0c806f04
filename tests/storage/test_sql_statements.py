"""The text of the SQL statements: what is sent, and how the two files are kept."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fullresult_storage_sql import postgresql_statements, rows, sqlite, statements
from fullresult_storage_sql.rows import Kind

_SENT = Path(__file__).parent / "sent_statements"


def sent(file: str) -> dict[str, str]:
    text = (_SENT / file).read_text(encoding="utf-8")
    _, *parts = re.split(r"^-- name: (.+)$", text, flags=re.MULTILINE)
    return {name: spaced(sql) for name, sql in zip(parts[::2], parts[1::2], strict=True)}


def spaced(sql: str) -> str:
    """*sql* with white space only where it means something."""
    return re.sub(r" ?([(),]) ?", r"\1", re.sub(r"\s+", " ", sql)).strip(" ;")


def name_of(kind: Kind) -> str:
    parts = [name for name, has in kind._asdict().items() if has]
    return " ".join(["write", *parts])


@pytest.mark.parametrize("kind", rows.KINDS)
def test_the_merge_that_postgresql_is_sent_is_spelt_out_as_before(kind: Kind) -> None:
    sql = postgresql_statements.WRITES[kind, False]

    assert spaced(sql) == sent("postgresql.sql")[name_of(kind)]


def test_the_merge_of_a_batch_that_postgresql_is_sent_is_spelt_out_as_before() -> None:
    sql = postgresql_statements.BATCHES[Kind(message=False, stored=False), False]

    assert spaced(sql) == sent("postgresql.sql")["batch"]


@pytest.mark.parametrize("kind", [kind for kind in rows.KINDS if kind.message])
def test_the_merge_that_sqlite_is_sent_is_spelt_out_as_before(kind: Kind) -> None:
    assert spaced(sqlite._WRITES[kind]) == sent("sqlite.sql")[name_of(kind)]


@pytest.mark.parametrize("key", sqlite._UPDATES._statements)
def test_an_update_that_sqlite_is_sent_is_spelt_out_as_before(key: tuple[bool, bool, bool]) -> None:
    parts = [part for part, has in zip(("open", "start", "stored"), key, strict=True) if has]
    before = sent("sqlite.sql")[" ".join(["update", *parts])]

    assert spaced(sqlite._UPDATES._statements[key]) == before


def commented(file: str) -> dict[str, str]:
    """The comment below each statement's name."""
    text = (Path(statements.__file__).parent / file).read_text(encoding="utf-8")
    found = re.findall(r"^-- name: (\w+)\n((?:-- .*\n)*)", text, flags=re.MULTILINE)
    return {name: comment.replace("\n-- ", " ") for name, comment in found}


def portable(sql: str) -> str:
    """*sql* in words that both databases have for the same."""
    sql = re.sub(r"::\w+(\[\])?", "", spaced(sql).replace("%s", "?"))
    for ours, theirs in _SAME:
        sql = sql.replace(ours, theirs)
    return sql


_SAME = [
    ("= ANY(?)", "IN(SELECT value FROM json_each(?))"),
    ("GREATEST(", "max("),
    ("LEAST(", "min("),
    ("IS NOT DISTINCT FROM", "IS"),
]
_POSTGRESQL, _SQLITE = statements.read("postgresql.sql"), statements.read("sqlite.sql")


@pytest.mark.parametrize("file", ["postgresql.sql", "sqlite.sql"])
def test_every_statement_says_what_it_is_for(file: str) -> None:
    without = [
        name
        for name, comment in commented(file).items()
        if not re.match(r"-- (?!Differs|Not in)[`A-Z].*[.:]", comment)
    ]

    assert commented(file).keys() == statements.read(file).keys()
    assert not without


def test_statements_that_differ_say_so_in_the_file_of_sqlite() -> None:
    comments = commented("sqlite.sql")
    both = _POSTGRESQL.keys() & _SQLITE.keys()
    differ = {name for name in both if portable(_POSTGRESQL[name]) != portable(_SQLITE[name])}

    assert differ == {name for name in both if "Differs from postgresql.sql: " in comments[name]}


def test_statements_of_sqlite_alone_say_so() -> None:
    comments = commented("sqlite.sql")
    alone = _SQLITE.keys() - _POSTGRESQL.keys()

    assert alone == {name for name in comments if "Not in postgresql.sql" in comments[name]}
