"""Listings, one item a line: a table on a terminal, tab-separated fields in a pipe."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from fullresult.cli.terminal import dim, fit, in_colour, is_terminal, say, width
from fullresult.insight.ids import SHORT
from fullresult.insight.safe_text import safe
from fullresult.insight.words import call, ending, local, span
from fullresult.record import TaskRecord

T = TypeVar("T")

_GAP = "  "
_NARROWEST = 16
"""The least width of an elastic column. With less room it is left out."""
_LEGIBLE = 40
"""The same for a column that can be printed below."""
_LONGEST_FIELD = 1024


@dataclass(frozen=True)
class Column(Generic[T]):
    """A column. *elastic* ones share the room that the others leave; the last go first."""

    heading: str
    cell: Callable[[T], str]
    elastic: bool = False
    state: Callable[[T], str] | None = None
    """The state by which the cell is coloured."""
    below: bool = False
    """Not left out where there is no room, but printed on a line of its own."""


COLUMNS: tuple[Column[TaskRecord], ...] = (
    Column("CREATED", lambda record: local(record.date_created)),
    Column("ID", lambda record: short(record.task_id)),
    Column("STATE", lambda record: safe(record.state), state=lambda record: record.state),
    Column("TASK", call, elastic=True),
    Column("RAN", lambda record: span(record.runtime)),
    Column("ENDED WITH", ending, elastic=True, below=True),
)
STALE_COLUMNS: tuple[Column[TaskRecord], ...] = (
    Column("LAST MOVED", lambda record: local(record.date_updated)),
    *COLUMNS[1:4],
    Column("WORKER", lambda record: safe(record.worker or ""), elastic=True, below=True),
)


def short(task_id: str) -> str:
    """The beginning of an id, which commands take for it where it is unique."""
    return safe(task_id)[:SHORT]


def show_records(
    records: Sequence[TaskRecord],
    columns: Sequence[Column[TaskRecord]] = COLUMNS,
    *,
    err: bool = False,
    table: bool | None = None,
) -> None:
    """Print *records*, as a table if *table* is True; without it, on a terminal."""
    show_rows(records, columns, fields, err=err, table=table)


def show_rows(
    items: Sequence[T],
    columns: Sequence[Column[T]],
    fields: Callable[[T], Sequence[str]],
    *,
    err: bool = False,
    table: bool | None = None,
) -> None:
    """Print the *columns* of *items* as a table, or their *fields* with tabs between."""
    if not (is_terminal(err=err) if table is None else table):
        for item in items:
            say("\t".join(fields(item)), err=err)
    elif items:
        _table(items, columns, err)


def fields(record: TaskRecord) -> list[str]:
    """The fields of a line in a pipe, as `list --help` lists them."""
    values = (
        record.task_id,
        record.state,
        record.name,
        record.date_created.isoformat(timespec="milliseconds"),
        None if record.runtime is None else f"{record.runtime:.3f}",
        str(record.retries),
        record.queue,
        record.worker,
        call(record),
        ending(record),
    )
    return bounded(values)


def bounded(values: Iterable[str | None]) -> list[str]:
    """*values* without tabs and line ends, each cut at `_LONGEST_FIELD` characters."""
    return [safe(value or "")[:_LONGEST_FIELD] for value in values]


def _table(items: Sequence[T], columns: Sequence[Column[T]], err: bool) -> None:
    rows = [[column.cell(item) for column in columns] for item in items]
    widths = _widths(columns, rows)
    kept = [index for index, columns_wide in enumerate(widths) if columns_wide]
    say(dim(_row([columns[i].heading for i in kept], [widths[i] for i in kept])), err=err)
    for item, row in zip(items, rows, strict=True):
        cells = [_cell(columns[i], item, row[i], widths[i]) for i in kept]
        say(_GAP.join(cells).rstrip(), err=err)
        for index, column in enumerate(columns):
            if column.below and row[index] and index not in kept:
                say(dim(f"  {fit(row[index], columns_of_terminal() - 2)}"), err=err)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(_padded(cell, room) for cell, room in zip(cells, widths, strict=True)).rstrip()


def _cell(column: Column[T], item: T, text: str, room: int) -> str:
    padded = _padded(text, room)
    return in_colour(column.state(item), padded) if column.state else padded


def _padded(text: str, room: int) -> str:
    text = fit(text, room)
    return text + " " * (room - width(text))


def _widths(columns: Sequence[Column[T]], rows: Sequence[Sequence[str]]) -> list[int]:
    """The width of each column; 0 if it is left out."""
    wanted = [
        max(len(column.heading), *(width(row[index]) for row in rows))
        if any(row[index] for row in rows)
        else 0
        for index, column in enumerate(columns)
    ]
    elastic = [i for i, column in enumerate(columns) if column.elastic and wanted[i]]
    rigid = sum(w + len(_GAP) for i, w in enumerate(wanted) if w and i not in elastic)
    room = columns_of_terminal() - rigid + len(_GAP)
    while len(elastic) > 1 and room < sum(_least(columns[i], wanted[i]) for i in elastic):
        wanted[elastic.pop()] = 0
    for place, index in enumerate(elastic):
        left = elastic[place + 1 :]
        rest = sum(min(wanted[i], max(_NARROWEST, room // 2)) + len(_GAP) for i in left)
        wanted[index] = max(min(wanted[index], room - rest - len(_GAP)), _NARROWEST)
        room -= wanted[index] + len(_GAP)
    return wanted


def _least(column: Column[T], wanted: int) -> int:
    """The room below which the column is left out, or printed below."""
    least = _LEGIBLE if column.below else _NARROWEST
    return min(max(wanted, _NARROWEST), least) + len(_GAP)


def columns_of_terminal() -> int:
    return shutil.get_terminal_size((120, 24)).columns
