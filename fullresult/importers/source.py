"""A source of rows, and one that is a table of an SQL database."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, NamedTuple, Protocol

from fullresult.importers.databases import Database
from fullresult.importers.errors import CannotImport
from fullresult.importers.groups import Group
from fullresult.importers.row import Row, Unreadable
from fullresult.importers.values import members_of
from fullresult.record import encoding

OVERLAP = timedelta(minutes=10)
"""What was written so long before the last look is looked at again: clocks differ, and a
transaction may last."""
_TABLE = re.compile(r"\w+(\.\w+)?\Z")
_IDS = 500
_GROUPS = "SELECT * FROM {table} WHERE id > :after ORDER BY id LIMIT :page"
Column = Mapping[str, Any]


class Broken(NamedTuple):
    """A row that could not be read."""

    task_id: str
    """Of a row without one: where it stands, as `row 7`."""
    why: str


Read = Row | Broken


class Options(NamedTuple):
    """How a source is read."""

    table: str | None = None
    zone: tzinfo = timezone.utc
    """Of dates without a time zone."""
    since: datetime | None = None
    """Rows last changed before are left out."""
    page: int = 500


class Source(Protocol):
    """Gives rows in pages. Raises `CannotImport`."""

    name: str
    """As it stands in the notes of records: `django-celery-results`."""
    shown: str
    """Where it is, without a password."""
    missing: str
    """What of a task it never knows, for the notes of records."""

    def count(self, after: Any) -> int:
        """The number of rows that `pages` gives, about."""
        ...

    def pages(self, after: Any) -> Iterator[list[Read]]:
        """All rows behind the position *after*; None: from the beginning."""
        ...

    def changed(self, since: datetime) -> Iterator[list[Read]]:
        """The rows that are new or have changed at *since* or later, and perhaps others."""
        ...

    def groups(self) -> Iterator[Group]:
        """The groups whose results were saved. One that cannot be read is left out."""
        ...

    def close(self) -> None: ...


class Table:
    """A table with a numeric key `id`, one row a task."""

    name = ""
    missing = ""
    default_table = ""
    needed: tuple[str, ...] = ()
    """Columns without which it is not the table that it should be."""
    groups_in = ("", "")
    """The table of groups, and the column of their ids."""
    date_column = "date_done"
    id_column = "task_id"

    def __init__(self, database: Database, options: Options) -> None:
        self.database = database
        self.options = options
        self.table = options.table or self.default_table
        if not _TABLE.match(self.table):
            raise CannotImport(f"--table {self.table!r} is no name of a table")
        self.columns = database.columns(self.table)
        if lacking := [column for column in self.needed if column not in self.columns]:
            what = f"has no column {lacking[0]}" if self.columns else "does not exist"
            raise CannotImport(
                f"{database.shown}: the table {self.table}, in which {self.name} keeps results, "
                f"{what}"
            )
        self.shown = f"{database.shown} {self.table}"
        self._last = 0
        self._open: dict[Any, str] = {}
        self._began_at: Any = None

    def row(self, column: Column) -> Row:
        """The row of a task. Raises `ValueError`."""
        raise NotImplementedError

    def count(self, after: Any) -> int:
        where, values = self._since()
        sql = f"SELECT count(*) AS n FROM {self.table}{_behind(where)}"  # noqa: S608
        return int(self._ask(sql, {**values, "after": after or 0})[0]["n"])

    def pages(self, after: Any) -> Iterator[list[Read]]:
        self._began_at = after
        where, values = self._since()
        yield from self._walk(where, values, after or 0)

    def changed(self, since: datetime) -> Iterator[list[Read]]:
        # The rows before that position were read by another import, which knew the open ones.
        is_part, self._began_at = self._began_at is not None, None
        if is_part or self.date_column in self.database.indexed(self.table):
            values = {"since": self._naive(since)}
            yield from self._walk(f" WHERE {self.date_column} >= :since", values, 0)
            return
        # Without an index of dates: the newest rows, and those that were not over.
        ids = list(self._open)
        for start in range(0, len(ids), _IDS):
            yield self._of_ids(ids[start : start + _IDS])
        yield from self._walk("", {}, max(self._last - _IDS, 0))

    def groups(self) -> Iterator[Group]:
        table, column = self.groups_in
        if column not in (self.database.columns(table) if table else ()):
            return
        sql, after = _GROUPS.format(table=table), 0
        while found := self._ask(sql, {"after": after, "page": self.options.page}):
            after = found[-1]["id"]
            for each in found:
                try:
                    members = members_of(self.group_of(each))
                except UNREADABLE:
                    continue
                yield Group(str(each[column]), members)

    def group_of(self, column: Column) -> Any:
        """The value of a saved group. Raises `ValueError`."""
        raise NotImplementedError

    def close(self) -> None:
        self.database.close()

    def _since(self) -> tuple[str, dict[str, Any]]:
        if self.options.since is None:
            return "", {}
        return f" WHERE {self.date_column} >= :since", {"since": self._naive(self.options.since)}

    def _naive(self, when: datetime) -> datetime | str:
        """*when* as the column has it: SQLite compares texts."""
        if "with time zone" in self.columns[self.date_column]:
            return when
        local = when.astimezone(self.options.zone).replace(tzinfo=None)
        sqlite = self.database.shown.partition("://")[0].endswith("sqlite")
        return str(local) if sqlite else local

    def _walk(self, where: str, values: Mapping[str, Any], after: int) -> Iterator[list[Read]]:
        sql = (
            f"SELECT * FROM {self.table}{_behind(where)} "  # noqa: S608
            f"ORDER BY id LIMIT {self.options.page:d}"
        )
        while found := self._ask(sql, {**values, "after": after}):
            after = found[-1]["id"]
            self._last = max(self._last, after)
            yield self._read(found)

    def _of_ids(self, ids: list[Any]) -> list[Read]:
        names = {f"i{number}": each for number, each in enumerate(ids)}
        places = ", ".join(f":{name}" for name in names)
        sql = f"SELECT * FROM {self.table} WHERE id IN ({places})"  # noqa: S608
        return self._read(self._ask(sql, names))

    def _ask(self, sql: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        return self.database.ask(sql, values)

    def _read(self, found: Iterable[Column]) -> list[Read]:
        read = [
            read_one(self.row, column, column[self.id_column], column["id"]) for column in found
        ]
        for column, row in zip(found, read, strict=True):
            if isinstance(row, Row):
                row.position = column["id"]
            self._note_open(column)
        return read

    def _note_open(self, column: Column) -> None:
        if column["status"] in _OVER:
            self._open.pop(column["id"], None)
        else:
            self._open[column["id"]] = ""


_OVER = frozenset({"SUCCESS", "FAILURE", "REVOKED", "REJECTED", "IGNORED", "SCHEDULED_SENT"})


def _behind(where: str) -> str:
    return f"{where} AND id > :after" if where else " WHERE id > :after"


UNREADABLE = (ValueError, TypeError, KeyError, RecursionError, OverflowError)
"""What is raised where a row is not as it should be."""


def decoded(column: Column, part: str, decode: Callable[[Any], Any]) -> Any:
    """What *decode* makes of *part*; None of an empty one. Raises `Unreadable`, which names it."""
    content = column.get(part)
    return None if content in (None, b"", "") else named(part, decode, content)


def named(part: str, decode: Callable[[Any], Any], content: Any) -> Any:
    """What *decode* makes of *content*. Raises `Unreadable`, which says that it is *part*."""
    try:
        return decode(content)
    except UNREADABLE as error:
        raise Unreadable(f"its {part}: {str(error) or type(error).__name__}") from None


def read_one(read: Callable[[Any], Row], item: Column, task_id: Any, place: Any) -> Read:
    """The row of *item*, which stands at *place*, or why there is none."""
    try:
        row = read(item)
        if not row.task_id:
            raise Unreadable("it has no task id")
    except UNREADABLE as error:
        shown = f"row {place}" if task_id in (None, "") else encoding.key(task_id)
        return Broken(shown, str(error) or type(error).__name__)
    return row
